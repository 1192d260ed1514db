import { join, relative } from 'node:path'
import ts from 'typescript'
import { root } from './markdown.ts'

/** Text to compile as if it were a file of the repository. */
export interface VirtualFile {
  /** Its path from the root. */
  readonly path: string
  readonly text: string
}

/** A program of real and virtual files, under the options of the repository. */
export function programOf(virtual: readonly VirtualFile[], real: readonly string[] = []): ts.Program {
  const texts = new Map(virtual.map(({ path, text }) => [join(root, path), text]))
  const { options } = configuration()
  const host = ts.createCompilerHost(options, true)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = (file) => texts.has(file) || fileExists(file)
  host.readFile = (file) => texts.get(file) ?? readFile(file)
  host.getSourceFile = (file, languageVersion, ...rest) => {
    const text = texts.get(file)
    return text === undefined
      ? getSourceFile(file, languageVersion, ...rest)
      : ts.createSourceFile(file, text, languageVersion, true)
  }
  return ts.createProgram({
    rootNames: [...texts.keys(), ...real.map((path) => join(root, path))],
    options,
    host,
  })
}

/** What the compiler has to say of a file, as `path:line: message`. */
export function problemsOf(program: ts.Program, path: string): string[] {
  const file = program.getSourceFile(join(root, path))
  if (!file) throw new Error(`${path} is not in the program`)
  return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map(
    (diagnostic) => {
      const { line } = file.getLineAndCharacterOfPosition(diagnostic.start ?? 0)
      const message = ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n')
      return `${relative(root, file.fileName)}:${line + 1}: ${message}`
    },
  )
}

function configuration(): ts.ParsedCommandLine {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile) as { config: unknown }
  return ts.parseJsonConfigFileContent(config, ts.sys, root)
}

import { dirname, join, relative, resolve, sep } from 'node:path'
import ts from 'typescript'

const root = resolve(import.meta.dirname, '../..')

/** This repository's compiler options, in which `mneme` is src. */
const repositoryOptions = readOptions()

/** Files as they were parsed: programs of one process share them, which is most of the work of a small program. */
const parsed = new Map<string, ts.SourceFile | undefined>()

/** A program over files of the repository, and over texts that are nowhere: named by path from the root. */
export function programOf(
  files: readonly string[],
  {
    texts = {},
    options = {},
  }: { texts?: Readonly<Record<string, string>>; options?: ts.CompilerOptions } = {},
): ts.Program {
  const merged = { ...repositoryOptions, ...options }
  const virtual = new Map(Object.entries(texts).map(([path, text]) => [join(root, path), text]))
  const host = ts.createCompilerHost(merged)
  const { fileExists, readFile, getSourceFile, directoryExists } = host
  const folders = new Set([...virtual.keys()].map((path) => dirname(path)))
  host.fileExists = (path) => virtual.has(resolve(path)) || fileExists(path)
  host.directoryExists = (path) => folders.has(resolve(path)) || (directoryExists?.(path) ?? true)
  host.readFile = (path) => virtual.get(resolve(path)) ?? readFile(path)
  host.getSourceFile = (path, how, ...rest) => {
    const text = virtual.get(resolve(path))
    if (text !== undefined) return ts.createSourceFile(path, text, how)
    const key = `${path} ${typeof how === 'object' ? String(how.impliedNodeFormat) : ''}`
    if (!parsed.has(key)) parsed.set(key, getSourceFile(path, how, ...rest))
    return parsed.get(key)
  }
  const roots = [...files.map((path) => join(root, path)), ...virtual.keys()]
  return ts.createProgram({ rootNames: roots, options: merged, host })
}

/** Where a diagnostic is, and what it says; the same on every machine. */
export interface Message {
  readonly file: string
  /** From 1. */
  readonly line: number
  /** With its code: `TS2322: Type ...`. */
  readonly text: string
}

/** What the compiler says of a program, or of one of its files. */
export function messagesOf(program: ts.Program, path?: string): Message[] {
  const source = path === undefined ? undefined : program.getSourceFile(join(root, path))
  if (path !== undefined && !source) throw new Error(`${path} is not in the program`)
  const found = [
    ...(source ? [] : program.getOptionsDiagnostics()),
    ...program.getSyntacticDiagnostics(source),
    ...program.getSemanticDiagnostics(source),
  ]
  return found.map(({ code, file, start, messageText, relatedInformation = [] }) => ({
    file: file ? relative(root, file.fileName).split(sep).join('/') : '',
    line: file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0,
    text: `TS${code}: ${[messageText, ...argumentsMissing(relatedInformation)]
      .map((text) => ts.flattenDiagnosticMessageText(text, '\n').replaceAll(`${root}${sep}`, ''))
      .join('\n  ')}`,
  }))
}

/** Which argument is missing: the compiler and editors show it beside 'Expected 3 arguments, but got 2'. */
function argumentsMissing(related: readonly ts.DiagnosticRelatedInformation[]) {
  return related.filter(({ code }) => [6210, 6211, 6236].includes(code)).map(({ messageText }) => messageText)
}

function readOptions(): ts.CompilerOptions {
  const file = join(root, 'tsconfig.json')
  const { config, error } = ts.readConfigFile(file, (path) => ts.sys.readFile(path)) as {
    config: Record<string, unknown>
    error?: ts.Diagnostic
  }
  if (error) throw new Error(ts.flattenDiagnosticMessageText(error.messageText, '\n'))
  return ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root).options
}

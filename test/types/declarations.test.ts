import { describe, expect, test } from 'vitest'
import type ts from 'typescript'
import { execute } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { messagesOf, programOf } from '../support/compiler.ts'
import { visit } from './library/commands.ts'

const inferred = ['events', 'shop', 'visitor', 'commands'].map((name) => `test/types/library/${name}.ts`)
const explicit = 'test/types/library/explicit.ts'

const emitting: ts.CompilerOptions = {
  noEmit: false,
  declaration: true,
  emitDeclarationOnly: true,
  outDir: 'emitted',
}

describe('a library that exports aggregates and commands', () => {
  test('has short declarations, without the types of a schema library', () => {
    const declarations = emit(inferred)
    expect(declarations).not.toMatch(/zod|StandardSchema/)
    // Whatever is inferred has a name that is exported; else it could not be declared (TS2742).
    expect(declarations).not.toContain('/src/')
    expect(declarations).toMatchSnapshot()
  })

  test('compiles with isolatedDeclarations if it names its types itself', () => {
    const program = programOf([explicit], { options: { ...emitting, isolatedDeclarations: true } })
    const source = program.getSourceFiles().find(({ fileName }) => fileName.endsWith(explicit))
    expect(program.getDeclarationDiagnostics(source)).toEqual([])
    expect(messagesOf(program, explicit)).toEqual([])
  })

  test('may have files that borrow events of each other, without a cycle of imports', async () => {
    const { state } = await execute(memoryStore(), visit({ visitor: 'v', shop: 's' }))
    expect(state).toEqual({ visitor: { seen: 1 }, shop: { visits: 1, stars: [] } })
  })
})

describe.each([true, false])('exactOptionalPropertyTypes: %s', (exactOptionalPropertyTypes) => {
  test('what users write compiles', () => {
    const names = ['bank', 'streams', 'boundaries', 'needs', 'classes', 'evolution']
    const paths = [...names.map((name) => `test/programs/${name}.ts`), 'test/types/library/commands.ts']
    const program = programOf(paths, { options: { exactOptionalPropertyTypes } })
    expect(paths.flatMap((path) => messagesOf(program, path))).toEqual([])
  })
})

function emit(files: readonly string[]): string {
  const emitted: string[] = []
  const program = programOf(files, { options: emitting })
  for (const path of files) {
    const source = program.getSourceFiles().find(({ fileName }) => fileName.endsWith(path))
    program.emit(source, (_, text) => void emitted.push(text))
  }
  return emitted.join('\n')
}

/**
 * A module of the runtime, as Node names it; `undefined` in runtimes without it. Loaded this way, rather than imported, so
 * that bundlers leave it alone and programs that do not need it do not pay for it.
 *
 * @param Module the part of it that is used.
 */
export function builtinModule<Module extends object>(name: `node:${string}`): Partial<Module> | undefined {
  const { process } = globalThis as { readonly process?: Partial<Process> }
  return process?.getBuiltinModule?.(name)
}

interface Process {
  getBuiltinModule: (name: string) => object | undefined
}

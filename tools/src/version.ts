import manifest from '../package.json' with { type: 'json' }

/** The version of the tools. */
export const version: string = manifest.version

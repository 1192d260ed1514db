import type { PageFiles } from './inspector.ts'

/** The files of the page, as the build made them. */
export const files: PageFiles

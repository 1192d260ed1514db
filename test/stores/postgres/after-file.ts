import { afterAll } from 'vitest'

import { dropDatabases } from './server.ts'

// Registered before the hooks of a file, and so run after them.
afterAll(dropDatabases)

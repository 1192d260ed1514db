import type { ServiceDefinition } from '@grpc/grpc-js'

import { limits } from './record-size.ts'

const tooLarge = new WeakSet()

/** Whether a message was larger than the services of v1 take; then it is empty. */
export function isTooLarge(message: object): boolean {
  return tooLarge.has(message)
}

/** The service with messages no larger than the server takes. grpc-js has the limit for all services at once only. */
export function withMessageLimit(service: ServiceDefinition): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => {
      const requestDeserialize = (bytes: Buffer): object => {
        if (bytes.length <= limits.record) return method.requestDeserialize(bytes) as object
        const message = method.requestDeserialize(Buffer.alloc(0)) as object
        tooLarge.add(message)
        return message
      }
      return [name, { ...method, requestDeserialize }]
    }),
  )
}

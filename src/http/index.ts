export { httpAnswers } from './answers.ts'
export type {
  Answer,
  HttpOutcome,
  CommandRequest,
  CommandRoute,
  HttpAnswers,
  HttpOptions,
  RejectionAnswer,
  RejectionAnswers,
  RejectionIn,
  RejectionProblem,
  RequestOptions,
  StateRoute,
} from './answers.ts'
export { etagOf } from './etag.ts'
export type { EventMessage, EventRoute, ResumeOptions } from './event-stream.ts'
export { HttpError } from './http-error.ts'
export type { Problem, ProblemMembers } from './http-error.ts'

import { described, duration, oneOf, struct, text, withDefault } from '../../../core/fields.ts'

/** Options of the `memory` sink. */
export const MemoryConfig = struct({
  target: text().pipe(
    described('Name of the target, shared by everything in this process that uses the name.'),
  ),
  durable: oneOf('write', 'flush').pipe(
    described(
      'When rows reach the target: with every write, or at a flush, as with servers that load in groups.',
    ),
    withDefault('write'),
  ),
  flushInterval: duration().pipe(
    described('Longest time between two flushes, with `durable: flush`.'),
    withDefault('1s'),
  ),
})

export type MemoryConfig = typeof MemoryConfig.Type

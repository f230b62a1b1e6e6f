import { batchLaws } from './batches.ts'
import { durabilityLaws } from './durability.ts'
import { lifecycleLaws } from './lifecycle.ts'
import { messageLaws } from './messages.ts'
import { nameLaws } from './names.ts'
import { networkLaws } from './network.ts'
import { refusalLaws } from './refusals.ts'
import { replayLaws } from './replay.ts'
import { rowLaws } from './rows.ts'
import { schemaLaws } from './schema-changes.ts'
import type { SinkLaw } from './trial.ts'
import { typeLaws } from './types.ts'
import { undeclaredLaws } from './undeclared.ts'

/** Every law of sinks, by theme. */
export const sinkLaws: readonly SinkLaw[] = [
  ...rowLaws,
  ...replayLaws,
  ...schemaLaws,
  ...undeclaredLaws,
  ...typeLaws,
  ...nameLaws,
  ...batchLaws,
  ...refusalLaws,
  ...durabilityLaws,
  ...lifecycleLaws,
  ...networkLaws,
  ...messageLaws,
]

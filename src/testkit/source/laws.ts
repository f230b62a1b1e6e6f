import { budgetLaws } from './budget.ts'
import { copyLaws } from './copy.ts'
import { dropLaws } from './drop.ts'
import { endLaws } from './end.ts'
import { linkLaws } from './link.ts'
import { messageLaws } from './messages.ts'
import { positionLaws } from './positions.ts'
import { schemaLaws } from './schema.ts'
import { startLaws } from './start.ts'
import { transactionLaws } from './transactions.ts'
import type { SourceLaw } from './trial.ts'
import { valueLaws } from './values.ts'

/** What every source keeps, as far as it declares the capability that a law is about. */
export const sourceLaws: readonly SourceLaw[] = [
  ...startLaws,
  ...copyLaws,
  ...positionLaws,
  ...transactionLaws,
  ...valueLaws,
  ...schemaLaws,
  ...dropLaws,
  ...budgetLaws,
  ...endLaws,
  ...linkLaws,
  ...messageLaws,
]

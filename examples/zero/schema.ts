/** What the page sees of the database. Types: src/connectors/sinks/zero/README.md. */
import { createBuilder, createSchema, number, string, table } from '@rocicorp/zero'

const orders = table('orders')
  .columns({
    id: number(),
    customer: string(),
    coffee: string(),
    bags: number(),
    total: number(),
    status: string<'new' | 'roasting' | 'packed' | 'shipped'>(),
    // Milliseconds since 1970.
    changed_at: number(),
  })
  .primaryKey('id')

export const schema = createSchema({ tables: [orders] })
export const zql = createBuilder(schema)

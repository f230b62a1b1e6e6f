/** The queries of the page. It asks for them by name; `start.ts` tells zero-cache what the names mean. */
import { defineQueriesWithType, defineQuery } from '@rocicorp/zero'

import { type schema, zql } from './schema.ts'

export const queries = defineQueriesWithType<typeof schema>()({
  orders: defineQuery(() => zql.orders.orderBy('id', 'desc').limit(100)),
})

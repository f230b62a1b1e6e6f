/** What `bench/mongodb.ts` reads: orders of 14 fields, about 340 bytes each, and the tables that are made of them. */
import { Decimal128, type Document, Long, ObjectId } from 'mongodb'
import type { Json } from '../../src/core/position.ts'

export const DATABASE = 'bench'
export const COLLECTION = 'orders'
export const NAMESPACE = 'public'
/** 2024-01-01. Events begin in this second, a thousand in each. */
export const FIRST_SECOND = 1_704_067_200
export const EVENTS_PER_SECOND = 1000

const STATUSES = ['open', 'paid', 'packed', 'shipped', 'returned']
const CITIES = ['Amsterdam', 'Köln', 'Zürich', 'London', 'San Francisco']

/** The order of this number. */
export function order(number: number): Document {
  const placedMs = (FIRST_SECOND + (number % 86_400)) * 1000 + (number % 1000)
  return {
    _id: idOf(number),
    number,
    customer: `customer ${number % 50_000}`,
    status: STATUSES[number % 5],
    items: (number % 7) + 1,
    total: Decimal128.fromString(`${number % 1000}.${10 + (number % 90)}`),
    weight: (number % 10_000) / 8,
    points: Long.fromNumber(number * 1_000_003),
    placedAt: new Date(placedMs),
    changedAt: new Date(placedMs + 3_600_000),
    gift: number % 10 === 0,
    address: {
      street: `${(number % 200) + 1} High Street`,
      city: CITIES[number % 5],
      zip: `${10_000 + (number % 90_000)}`,
    },
    tags: ['web', STATUSES[(number + 1) % 5], `campaign-${number % 12}`],
    note: number % 4 === 0 ? null : 'please ring twice',
  }
}

function idOf(number: number): ObjectId {
  return ObjectId.createFromHexString(`6592008000000000${number.toString(16).padStart(8, '0')}`)
}

const FIELDS = {
  id: { path: '_id', type: 'text' },
  customer: { path: 'customer', type: 'text' },
  status: { path: 'status', type: 'text' },
  total: { path: 'total', type: 'decimal(12,2)' },
  placed_at: { path: 'placedAt', type: 'timestamp(3) with time zone' },
  number: { path: 'number', type: 'int32' },
  items: { path: 'items', type: 'int32' },
  weight: { path: 'weight', type: 'float64' },
  points: { path: 'points', type: 'int64' },
  changed_at: { path: 'changedAt', type: 'timestamp(3) with time zone' },
  gift: { path: 'gift', type: 'bool' },
  address: { path: 'address', type: 'json' },
  tags: { path: 'tags', type: 'json' },
  note: { path: 'note', type: 'text?' },
}

/** Mappings of a table with the first `count` of the fields. */
export function mappings(count: number): Json {
  const fields = Object.fromEntries(Object.entries(FIELDS).slice(0, count))
  return { orders: { collection: COLLECTION, fields, key: ['id'] } }
}

/** The transactions of the demo's load, as SQL that runs between BEGIN and COMMIT. */
import { bodySql, documentIdSql, type ShopSize } from './schema.ts'

/** What the load knows about the shop: the ids that exist, more or less. */
export class Shop {
  customers: number
  orders: number
  documents: number
  readonly products: number
  #coupons: number
  /** The column that is added under load is there. */
  hasTier = false

  constructor(size: ShopSize) {
    this.customers = size.customers
    this.orders = size.orders
    this.documents = size.documents
    this.products = size.products
    this.#coupons = size.coupons
  }

  anyCustomer(): number {
    return 1 + upTo(this.customers)
  }

  anyOrder(): number {
    return 1 + upTo(this.orders)
  }

  anyDocument(): number {
    return 1 + upTo(this.documents)
  }

  /** A code that no coupon has had. */
  newCoupon(): string {
    return `SAVE${++this.#coupons}`
  }
}

export const addTierColumn = `ALTER TABLE customers ADD COLUMN tier text NOT NULL DEFAULT 'standard'`

/** The usual mix, by weight. */
const usual: readonly (readonly [number, (shop: Shop) => string])[] = [
  [30, placeOrder],
  [25, advanceOrders],
  [15, editCustomer],
  [6, cancelOrder],
  [3, removeCustomer],
  [0.3, readDocument],
  [1, rewriteDocument],
  [2, newDocument],
  [4, renameCoupon],
  [3, renumberLines],
  [3, changeMind],
  [2, giveUp],
]
const totalWeight = usual.reduce((sum, [weight]) => sum + weight, 0)

/** A transaction of a few rows. */
export function anyTransaction(shop: Shop): string {
  let at = Math.random() * totalWeight
  for (const [weight, make] of usual) {
    at -= weight
    if (at < 0) return make(shop)
  }
  return placeOrder(shop)
}

/** Transactions of about `rows` rows, in turn. */
const big: readonly ((shop: Shop, rows: number) => string)[] = [importCustomers, countViews, changePrices]

/** The big transaction number `turn`, from 0. */
export function bigTransaction(shop: Shop, turn: number, rows: number): string {
  return big[turn % big.length]!(shop, rows)
}

function importCustomers(shop: Shop, rows: number): string {
  const first = shop.customers + 1
  shop.customers += rows
  return `INSERT INTO customers (id, reference, email, balance, is_active, interests, created_at)
          SELECT i, gen_random_uuid(), 'import' || i || '@example.com', 0, false, '{}', clock_timestamp()
          FROM generate_series(${first}, ${shop.customers}) AS i`
}

/** Changes a small column beside a large one that is left alone, in many rows. */
function countViews(shop: Shop, rows: number): string {
  const first = shop.anyDocument()
  const last = Math.min(shop.documents, first + Math.round(rows / 4))
  return `UPDATE documents SET views = views + 1
          WHERE id IN (SELECT ${documentIdSql('i')} FROM generate_series(${first}, ${last}) AS i)`
}

function changePrices(shop: Shop, rows: number): string {
  const step = Math.max(1, Math.round(shop.products / rows))
  return `UPDATE products SET price = round(price * ${(0.9 + Math.random() / 5).toFixed(3)}, 2), stock = stock + 10
          WHERE id % ${step} = 0`
}

function placeOrder(shop: Shop): string {
  const id = ++shop.orders
  const product = 1 + upTo(shop.products)
  return `
    INSERT INTO orders VALUES (${id}, ${shop.anyCustomer()}, 'new', ${upTo(1e6)} / 7.0, clock_timestamp(),
      clock_timestamp()::timestamp + interval '2 days', interval '1 year 2 months 3.5 seconds', NULL);
    INSERT INTO order_items SELECT ${id}, line, 1 + (${product} + line) % ${shop.products}, line, 9.90
      FROM generate_series(1, ${1 + upTo(6)}) AS line;
    UPDATE products SET stock = stock - 1 WHERE id = ${product}`
}

function advanceOrders(shop: Shop): string {
  const first = shop.anyOrder()
  return `UPDATE orders SET status = (enum_range(NULL::order_status))[${1 + upTo(5)}], note = 'It''s ' || clock_timestamp()
          WHERE id BETWEEN ${first} AND ${first + upTo(4)}`
}

function editCustomer(shop: Shop): string {
  const tier = shop.hasTier ? `, tier = '${Math.random() < 0.5 ? 'gold' : 'silver'}'` : ''
  return `UPDATE customers SET balance = balance + ${(Math.random() * 20 - 10).toFixed(2)}, rating = random() * 5,
            is_active = NOT is_active, name = nullif('Name ' || ${upTo(50)}, 'Name 0'),
            interests = interests[1:2] || 'seen "${upTo(1000)}"'::text${tier}
          WHERE id = ${shop.anyCustomer()}`
}

function cancelOrder(shop: Shop): string {
  const id = shop.anyOrder()
  return `DELETE FROM order_items WHERE order_id = ${id}; DELETE FROM orders WHERE id = ${id}`
}

function removeCustomer(shop: Shop): string {
  return `DELETE FROM customers WHERE id = ${shop.anyCustomer()}`
}

/** The same in one row. */
function readDocument(shop: Shop): string {
  return `UPDATE documents SET views = views + 1 WHERE id = ${documentIdSql(String(shop.anyDocument()))}`
}

function rewriteDocument(shop: Shop): string {
  const id = documentIdSql(String(shop.anyDocument()))
  return `UPDATE documents SET title = 'Edited ' || views, body = ${bodySql(String(upTo(1e9)))} WHERE id = ${id}`
}

function newDocument(shop: Shop): string {
  const number = ++shop.documents
  return `INSERT INTO documents VALUES (${documentIdSql(String(number))}, 'Document ${number}', 0, ${bodySql(String(number))})`
}

/** A key change. */
function renameCoupon(shop: Shop): string {
  return `UPDATE coupons SET code = '${shop.newCoupon()}', uses = uses + 1
          WHERE code = (SELECT code FROM coupons WHERE code >= 'SAVE${upTo(1e6)}' ORDER BY code LIMIT 1)`
}

/** A key change of half of a composite key, in several rows. */
function renumberLines(shop: Shop): string {
  return `UPDATE order_items SET line = line + 100, quantity = quantity + 1 WHERE order_id = ${shop.anyOrder()} AND line < 10000`
}

/** A part that is undone by a savepoint. */
function changeMind(shop: Shop): string {
  const id = shop.anyOrder()
  return `SAVEPOINT before; DELETE FROM order_items WHERE order_id = ${id}; ROLLBACK TO before;
          UPDATE orders SET note = 'kept' WHERE id = ${id}`
}

/** Nothing of it may arrive. */
function giveUp(shop: Shop): string {
  return `UPDATE customers SET balance = -1 WHERE id = ${shop.anyCustomer()}; ROLLBACK`
}

/** A whole number from 0 to below `limit`. */
function upTo(limit: number): number {
  return Math.floor(Math.random() * limit)
}

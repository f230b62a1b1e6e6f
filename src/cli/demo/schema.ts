/** The shop of the demo: tables of many types, and the rows that are there before anything is replicated. */
import type pg from 'pg'

/** How many rows each table begins with. Ids are 1 to the count. */
export interface ShopSize {
  readonly customers: number
  readonly products: number
  readonly orders: number
  readonly coupons: number
  readonly documents: number
}

export const shopTables = [
  'customers',
  'products',
  'orders',
  'order_items',
  'coupons',
  'documents',
  'currencies',
  'pulse',
] as const

/** Lines of an order at the beginning. */
const LINES = 3

/** Splits about `rows` rows over the tables. */
export function shopSize(rows: number): ShopSize {
  const share = (part: number): number => Math.max(20, Math.round(rows * part))
  return {
    customers: share(0.1),
    products: share(0.02),
    orders: share(0.205),
    coupons: share(0.05),
    documents: share(0.01),
  }
}

const tables = `
  CREATE TYPE order_status AS ENUM ('new', 'paid', 'shipped', 'delivered', 'returned');

  CREATE TABLE customers (
    id bigint PRIMARY KEY,
    reference uuid NOT NULL,
    email text NOT NULL,
    name varchar(80),
    balance numeric(12,2) NOT NULL,
    born date,
    is_active boolean NOT NULL,
    rating real,
    interests text[] NOT NULL,
    settings jsonb,
    created_at timestamptz NOT NULL
  );

  CREATE TABLE products (
    id integer PRIMARY KEY,
    name text NOT NULL,
    price numeric(10,2) NOT NULL,
    weight_kg double precision,
    stock integer NOT NULL,
    sizes smallint[],
    thumbnail bytea,
    available_from time
  );

  CREATE TABLE orders (
    id bigint PRIMARY KEY,
    customer_id bigint NOT NULL,
    status order_status NOT NULL,
    total numeric(14,4),
    placed_at timestamptz NOT NULL,
    ship_by timestamp(3),
    warranty interval,
    note text
  );

  CREATE TABLE order_items (
    order_id bigint NOT NULL,
    line smallint NOT NULL,
    product_id integer NOT NULL,
    quantity integer NOT NULL,
    price numeric(10,2) NOT NULL,
    PRIMARY KEY (order_id, line)
  );

  CREATE TABLE coupons (
    code text PRIMARY KEY,
    percent smallint NOT NULL,
    valid daterange,
    uses bigint NOT NULL
  );

  CREATE TABLE documents (
    id uuid PRIMARY KEY,
    title text NOT NULL,
    views bigint NOT NULL,
    body jsonb NOT NULL
  );
  -- Stored outside of the row: an update that leaves it alone does not log it.
  ALTER TABLE documents ALTER COLUMN body SET STORAGE EXTERNAL;

  CREATE TABLE currencies (code text PRIMARY KEY, name text NOT NULL, rate numeric NOT NULL);

  -- One row every 100 ms: when it shows up on the other side says how far behind that is.
  CREATE TABLE pulse (id bigint PRIMARY KEY, at timestamptz NOT NULL);
`

/** SQL of a body of about 8 kB that does not compress well; \`seed\` is SQL of a number. */
export function bodySql(seed: string): string {
  const words = `SELECT string_agg(md5((${seed})::text || word), ' ') FROM generate_series(1, 240) AS word`
  return `jsonb_build_object('seed', ${seed}, 'text', (${words}))`
}

/** The key of a document: SQL of a UUID from SQL of a number. */
export function documentIdSql(number: string): string {
  return `md5('document ' || ${number})::uuid`
}

function seedStatements(size: ShopSize): readonly string[] {
  return [
    `INSERT INTO customers
     SELECT i, md5('customer ' || i)::uuid, 'customer' || i || '@example.com',
            CASE WHEN i % 17 <> 0 THEN 'Zoë Müller-' || i END, (i % 100000) / 100.0 - 50,
            date '1940-01-01' + (i % 25000)::int, i % 3 <> 0, (i % 50) / 10.0,
            CASE i % 4 WHEN 0 THEN '{}'::text[] WHEN 1 THEN ARRAY['books', NULL] ELSE ARRAY['tea', 'say "hi"', 'a,b'] END,
            CASE WHEN i % 5 <> 0 THEN jsonb_build_object('newsletter', i % 2 = 0, 'theme', 'dark', 'visits', i) END,
            timestamptz '2020-01-01 00:00:00.123456+00' + i * interval '17.000001 minutes'
     FROM generate_series(1, ${size.customers}) AS i`,
    `INSERT INTO products
     SELECT i, 'Product ' || i, (i % 10000) / 100.0 + 1, sqrt(i), 1000,
            CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN '{}'::smallint[] ELSE '{36,38,40}' END,
            decode(md5(i::text), 'hex'), time '08:00' + i % 600 * interval '1 minute'
     FROM generate_series(1, ${size.products}) AS i`,
    `INSERT INTO orders
     SELECT i, 1 + i * 7919::bigint % ${size.customers}, (enum_range(NULL::order_status))[1 + i % 5],
            CASE WHEN i % 11 <> 0 THEN i % 100000 / 7.0 END,
            timestamptz '2023-01-01 00:00+00' + i * interval '31 seconds',
            timestamp '2023-01-03 12:00:00.5' + i * interval '31 seconds',
            CASE WHEN i % 2 = 0 THEN make_interval(years => 2, days => i % 30) END,
            CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE E'Line one\\nline "two"\\t\\\\ ' || i END
     FROM generate_series(1, ${size.orders}) AS i`,
    `INSERT INTO order_items
     SELECT i, line, 1 + (i * 31 + line) % ${size.products}, 1 + line % 5, (i % 10000) / 100.0
     FROM generate_series(1, ${size.orders}) AS i, generate_series(1, ${LINES}) AS line`,
    `INSERT INTO coupons
     SELECT 'SAVE' || i, i % 90, daterange(date '2024-01-01' + i % 365, date '2025-01-01' + i % 365), 0
     FROM generate_series(1, ${size.coupons}) AS i`,
    `INSERT INTO documents
     SELECT ${documentIdSql('i')}, 'Document ' || i, 0, ${bodySql('i')} FROM generate_series(1, ${size.documents}) AS i`,
    `INSERT INTO currencies VALUES ('EUR', 'Euro', 1), ('USD', 'US Dollar', 1.0834000),
       ('BTC', 'Bitcoin', 0.0000102030405060708090), ('ZWL', 'Zimbabwean dollar', 123456789012345678901234567890.5)`,
  ]
}

/** Makes the tables and their rows. Returns the number of rows. */
export async function createShop(client: pg.Client, size: ShopSize, signal: AbortSignal): Promise<number> {
  await client.query(tables)
  let rows = 0
  for (const statement of seedStatements(size)) {
    signal.throwIfAborted()
    const { rowCount } = await client.query(statement)
    rows += rowCount ?? 0
  }
  // The first copy shows how far it is by the planner's row counts.
  await client.query('ANALYZE')
  return rows
}

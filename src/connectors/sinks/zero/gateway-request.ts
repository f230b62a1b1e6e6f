/** What a consumer of the gateway asks for. Pure. */
import { closest } from '../../../core/closest.ts'
import type { Watermark } from './log-messages.ts'
import type { TableVersion } from './table-version.ts'
import { readWatermark } from './stream-request.ts'

export interface GatewayRequest {
  /** Names as the consumer wrote them; null for all. */
  readonly tables: readonly string[] | null
  /** Null: the rows as they are now come first. `unknown`: a text that is none of our watermarks. */
  readonly after: Watermark | 'unknown' | null
  readonly publications: readonly string[]
  /** The consumer's watermarks are kept under this name; null: it keeps its own. */
  readonly client: string | null
}

/** Why something cannot be had. */
export interface Refused {
  readonly refused: string
}

const KEYS: readonly string[] = ['tables', 'watermark', 'publications', 'client']
const MAX_NAMES = 1000
const ALL = '*'

/** The first message on a WebSocket: `{"tables": ["a", "b"], "watermark": "..." | null, "publications": ["p"]}`. */
export function readMessage(text: string): GatewayRequest | Refused {
  const message = parsed(text)
  if (typeof message !== 'object' || message === null || Array.isArray(message))
    return { refused: 'the first message must be a JSON object with `tables`' }
  const unknown = Object.keys(message).find((key) => !KEYS.includes(key))
  if (unknown !== undefined) return { refused: unknownKey(unknown) }
  const { tables, watermark = null, publications = [], client = null } = message as Record<string, unknown>
  if (!isNames(tables) || tables.length === 0)
    return { refused: '`tables` must be a list of names, or ["*"]' }
  if (!isNames(publications)) return { refused: '`publications` must be a list of names' }
  if (watermark !== null && typeof watermark !== 'string')
    return { refused: '`watermark` must be text, or null for the rows as they are now' }
  if (client !== null && !(typeof client === 'string' && isClientName(client)))
    return { refused: '`client` must be a name of letters, digits, ., _ and -' }
  return request(tables, watermark, publications, client)
}

/** A later message on the WebSocket of a named client: `{"ack": "<watermark>"}`. Null for anything else. */
export function readAcknowledgement(text: string): Watermark | null {
  const message = parsed(text)
  const ack = typeof message === 'object' && message !== null ? (message as { ack?: unknown }).ack : null
  return typeof ack === 'string' ? readWatermark(ack) : null
}

export function isClientName(text: string): boolean {
  return /^[\w.-]{1,100}$/.test(text)
}

/** A query such as `?tables=a,b&watermark=...&publications=p`; null when it asks for no tables. */
export function readQuery({ searchParams }: URL, lastEventId: string | undefined): GatewayRequest | null {
  const names = (key: string) => searchParams.getAll(key).flatMap((text) => text.split(','))
  const tables = names('tables').filter((name) => name !== '')
  if (tables.length === 0) return null
  const watermark = lastEventId ?? searchParams.get('watermark')
  const client = searchParams.get('client')
  return request(tables, watermark === '' ? null : watermark, names('publications'), client)
}

/** What a table is called: as in Zero, or as in the source. */
export function shownName({ schema, name }: Pick<TableVersion, 'schema' | 'name'>): string {
  return schema === 'public' ? name : `${schema}.${name}`
}

export function isNamed(version: TableVersion, names: readonly string[]): boolean {
  return names.includes(shownName(version)) || names.includes(version.source)
}

/** Which of the names are no tables; null when all are. */
export function unknownTable(names: readonly string[], visible: readonly TableVersion[]): string | null {
  const known = visible.flatMap((version) => [shownName(version), version.source])
  const wrong = names.find((name) => !known.includes(name))
  if (wrong === undefined) return null
  const near = closest(wrong, known)
  return `there is no table "${wrong.slice(0, 100)}"${near === null ? '' : `, did you mean "${near}"?`}`
}

function request(
  tables: readonly string[],
  watermark: string | null,
  publications: readonly string[],
  client: string | null,
): GatewayRequest {
  return {
    tables: tables.includes(ALL) ? null : [...new Set(tables)].toSorted(),
    after: watermark === null ? null : (readWatermark(watermark) ?? 'unknown'),
    publications: [...new Set(publications.filter((name) => name !== ''))].toSorted(),
    client,
  }
}

function isNames(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= MAX_NAMES && value.every((name) => typeof name === 'string')
}

function unknownKey(key: string): string {
  const near = closest(key, KEYS)
  return `there is no option "${key.slice(0, 100)}"${near === null ? '' : `, did you mean "${near}"?`}`
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}

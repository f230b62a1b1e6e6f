import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'

/** One message of the change source protocol. */
export type Message = readonly [string, Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>?]
/** What stands between `begin` and `commit`. */
export type Change = Readonly<Record<string, unknown>>

/** A change source that says what a test writes down; JSON columns travel as strings. */
export class ScriptedChangeSource implements AsyncDisposable {
  readonly #http: Server
  readonly #sockets = new WebSocketServer({ noServer: true })
  readonly #snapshot: readonly Change[]
  readonly #transactions: { readonly watermark: number; readonly changes: readonly Change[] }[] = []
  readonly #first: number
  #watermark: number
  /** Parameters of each connection. */
  readonly requests: URLSearchParams[] = []
  /** Watermarks that zero-cache has stored. */
  readonly acks: string[] = []

  private constructor(http: Server, snapshot: readonly Change[], first: number) {
    this.#http = http
    this.#snapshot = snapshot
    this.#first = this.#watermark = first
    http.on('upgrade', (request, socket, head) =>
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) =>
        this.#serve(webSocket, new URL(request.url!, 'ws://source').searchParams),
      ),
    )
  }

  /** `first` is the watermark of the snapshot. */
  static async start(snapshot: readonly Change[], first = 1): Promise<ScriptedChangeSource> {
    const http = createServer()
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    return new ScriptedChangeSource(http, snapshot, first)
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#http.address() as AddressInfo).port}/changes/v0/stream`
  }

  /** Sends a transaction to whoever is connected, and to those who come later; gives its watermark. */
  send(...changes: readonly Change[]): string {
    const transaction = { watermark: ++this.#watermark, changes }
    this.#transactions.push(transaction)
    for (const socket of this.#sockets.clients) say(socket, transaction.watermark, changes)
    return lexiVersion(transaction.watermark)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    await new Promise((resolve) => this.#http.close(resolve))
  }

  #serve(socket: WebSocket, parameters: URLSearchParams): void {
    this.requests.push(parameters)
    socket.on('message', (data: Buffer) => {
      const [, , { watermark }] = JSON.parse(data.toString()) as [string, unknown, { watermark: string }]
      this.acks.push(watermark)
    })
    const from = parameters.get('lastWatermark')
    if (from === null) say(socket, this.#first, this.#snapshot)
    else
      for (const { watermark, changes } of this.#transactions)
        if (lexiVersion(watermark) > from) say(socket, watermark, changes)
  }
}

/** A number as zero-cache compares versions. */
export function lexiVersion(value: number): string {
  const digits = value.toString(36)
  return `${(digits.length - 1).toString(36)}${digits}`
}

function say(socket: WebSocket, watermark: number, changes: readonly Change[]): void {
  const version = lexiVersion(watermark)
  const messages: Message[] = [
    ['begin', { tag: 'begin', json: 's' }, { commitWatermark: version }],
    ...changes.map((change): Message => ['data', change]),
    ['commit', { tag: 'commit' }, { watermark: version }],
  ]
  for (const message of messages) socket.send(JSON.stringify(message))
}

interface ColumnSpec {
  readonly dataType: string
  readonly notNull?: boolean
  readonly elemPgTypeClass?: 'b' | 'e'
  readonly pgTypeClass?: 'b' | 'e'
}

/** A table and the unique index of its key. */
export function createTable(
  name: string,
  columns: Readonly<Record<string, ColumnSpec>>,
  key: readonly string[],
  schema = 'public',
): readonly Change[] {
  const specs = Object.entries(columns).map(([column, spec], pos) => [
    column,
    { pos, ...spec, notNull: spec.notNull ?? key.includes(column) },
  ])
  return [
    { tag: 'create-table', spec: { schema, name, columns: Object.fromEntries(specs) } },
    {
      tag: 'create-index',
      spec: {
        schema,
        tableName: name,
        name: `${name}_key`,
        unique: true,
        columns: Object.fromEntries(key.map((column) => [column, 'ASC'])),
      },
    },
  ]
}

export function insert(
  name: string,
  row: Change,
  key: readonly string[] = ['id'],
  schema = 'public',
): Change {
  return { tag: 'insert', relation: { schema, name, rowKey: { columns: key } }, new: row }
}

const ALLOW = { row: { select: [['allow', { type: 'and', conditions: [] }]] } }

/** The tables that zero-cache needs for itself; everybody may read the named tables. */
export function internalTables(readable: readonly string[]): readonly Change[] {
  const text = { dataType: 'text' }
  const group = { clientGroupID: { dataType: 'text' }, clientID: { dataType: 'text' } }
  const permissions = JSON.stringify({ tables: Object.fromEntries(readable.map((table) => [table, ALLOW])) })
  return [
    ...createTable(
      'clients',
      { ...group, lastMutationID: { dataType: 'bigint', notNull: true }, userID: text },
      ['clientGroupID', 'clientID'],
      'zero_0',
    ),
    ...createTable(
      'mutations',
      {
        ...group,
        mutationID: { dataType: 'bigint' },
        mutation: { dataType: 'json' },
        result: { dataType: 'json' },
      },
      ['clientGroupID', 'clientID', 'mutationID'],
      'zero_0',
    ),
    ...createTable(
      'permissions',
      { lock: { dataType: 'bool' }, permissions: { dataType: 'json' }, hash: text },
      ['lock'],
      'zero',
    ),
    insert('permissions', { lock: true, permissions, hash: 'all' }, ['lock'], 'zero'),
  ]
}

import { Doc, List, type Value } from './value.ts'

const OP_REPLY = 1
const OP_QUERY = 2004
const OP_MSG = 2013

const CHECKSUM_PRESENT = 1
const MORE_TO_COME = 2

const MAX_MESSAGE = 48_000_000 + 16 * 1024

/** One message of a client: a command with its document sequences already in their place. */
export interface Message {
  readonly requestId: number
  readonly kind: 'query' | 'msg'
  readonly body: Doc
  /** The database: of `$db`, or of the namespace of an old query. */
  readonly database: string
  /** The client waits for no reply. */
  readonly moreToCome: boolean
  readonly bytes: number
}

/** Cuts a stream of bytes into messages. */
export class Framing {
  #parts: Buffer[] = []
  #size: number

  constructor() {
    this.#size = 0
  }

  *push(chunk: Buffer): Generator<Message> {
    this.#parts.push(chunk)
    this.#size += chunk.length
    for (;;) {
      if (this.#size < 4) return
      if (this.#parts[0]!.length < 4) this.#join()
      const length = this.#parts[0]!.readInt32LE(0)
      if (length < 16 || length > MAX_MESSAGE) throw new Error(`a message of ${length} bytes is not possible`)
      if (this.#size < length) return
      const all = this.#join()
      // The parts of a message live as long as its documents do: they are cut out of their own copy.
      const message = Buffer.from(all.subarray(0, length))
      this.#parts = [all.subarray(length)]
      this.#size -= length
      yield parseMessage(message)
    }
  }

  #join(): Buffer {
    const all = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
    this.#parts = [all]
    return all
  }
}

function parseMessage(bytes: Buffer): Message {
  const requestId = bytes.readInt32LE(4)
  const opCode = bytes.readInt32LE(12)
  if (opCode === OP_QUERY) return parseQuery(requestId, bytes)
  if (opCode === OP_MSG) return parseMsg(requestId, bytes)
  throw new Error(`the operation ${opCode} is not supported`)
}

function parseQuery(requestId: number, bytes: Buffer): Message {
  const end = bytes.indexOf(0, 20)
  const namespace = bytes.toString('utf8', 20, end)
  const at = end + 9
  const body = Doc.parse(bytes.subarray(at, at + bytes.readInt32LE(at)))
  const database = namespace.slice(0, namespace.indexOf('.'))
  return { requestId, kind: 'query', body, database, moreToCome: false, bytes: bytes.length }
}

function parseMsg(requestId: number, bytes: Buffer): Message {
  const flags = bytes.readUInt32LE(16)
  const end = bytes.length - (flags & CHECKSUM_PRESENT ? 4 : 0)
  let body: Doc | null = null
  const sequences: [string, Value][] = []
  let at = 20
  while (at < end) {
    const kind = bytes[at]
    const size = bytes.readInt32LE(at + 1)
    const section = bytes.subarray(at + 1, at + 1 + size)
    if (kind === 0) body = Doc.parse(section)
    else if (kind === 1) sequences.push(parseSequence(section))
    else throw new Error(`a section of kind ${kind} is not supported`)
    at += 1 + size
  }
  if (body === null) throw new Error('a message has no body')
  const whole = sequences.length === 0 ? body : Doc.of([...body.fields, ...sequences])
  const name = body.get('$db')
  const database = name === undefined ? 'admin' : name.bytes.toString('utf8', 4, name.bytes.length - 1)
  return {
    requestId,
    kind: 'msg',
    body: whole,
    database,
    moreToCome: (flags & MORE_TO_COME) !== 0,
    bytes: bytes.length,
  }
}

function parseSequence(section: Buffer): [string, Value] {
  const nameEnd = section.indexOf(0, 4)
  const name = section.toString('utf8', 4, nameEnd)
  const documents: Doc[] = []
  let at = nameEnd + 1
  while (at < section.length) {
    const size = section.readInt32LE(at)
    documents.push(Doc.parse(section.subarray(at, at + size)))
    at += size
  }
  return [name, List.of(documents)]
}

let lastId = 0

/** The head of a reply; the document follows it as it is. */
export function replyHead(message: Pick<Message, 'requestId' | 'kind'>, size: number): Buffer {
  const length = message.kind === 'msg' ? 21 : 36
  const head = Buffer.alloc(length)
  head.writeInt32LE(length + size, 0)
  lastId = (lastId + 1) & 0x7fffffff
  head.writeInt32LE(lastId, 4)
  head.writeInt32LE(message.requestId, 8)
  if (message.kind === 'msg') {
    head.writeInt32LE(OP_MSG, 12)
    return head
  }
  head.writeInt32LE(OP_REPLY, 12)
  // The server can await data, and there is one document.
  head.writeInt32LE(8, 16)
  head.writeInt32LE(1, 32)
  return head
}

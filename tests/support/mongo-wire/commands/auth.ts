import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto'

import type { Command, Handlers } from '../command.ts'
import { CommandError } from '../errors.ts'
import { binary, Scalar } from '../value.ts'

const ITERATIONS = 4096

/** A SCRAM-SHA-256 conversation under way on a connection. */
export interface Conversation {
  readonly user: string
  readonly clientFirst: string
  readonly serverFirst: string
  readonly nonce: string
  readonly salted: Buffer
  proven: boolean
}

export const AUTH: Handlers = {
  saslStart: (command) => {
    if (command.text('mechanism') !== 'SCRAM-SHA-256')
      throw new CommandError(
        334,
        `Received authentication for mechanism ${command.text('mechanism')} which is not enabled`,
      )
    const message = payload(command)
    const [, user, clientNonce] = /n=([^,]*),r=(.+)$/.exec(message) ?? []
    if (user === undefined || clientNonce === undefined) throw failed()
    const name = user.replaceAll('=2C', ',').replaceAll('=3D', '=')
    const password = passwordOf(command, name)
    if (password === null) throw failed()
    const salt = createHash('sha256').update(`salt of ${name}`).digest().subarray(0, 28)
    const nonce = `${clientNonce}${randomBytes(18).toString('base64')}`
    const serverFirst = `r=${nonce},s=${salt.toString('base64')},i=${ITERATIONS}`
    command.connection.conversation = {
      user: name,
      clientFirst: message.slice(message.indexOf('n=', 2)),
      serverFirst,
      nonce,
      salted: pbkdf2Sync(password, salt, ITERATIONS, 32, 'sha256'),
      proven: false,
    }
    return { conversationId: 1, done: false, payload: bytes(serverFirst) }
  },
  saslContinue: (command) => {
    const { conversation } = command.connection
    if (!conversation) throw failed()
    const message = payload(command)
    if (conversation.proven) {
      command.connection.user = conversation.user
      return { conversationId: 1, done: true, payload: bytes('') }
    }
    const [, withoutProof, nonce, proof] = /^(c=[^,]*,r=([^,]*)),p=(.+)$/.exec(message) ?? []
    const clientKey = hmac(conversation.salted, 'Client Key')
    const storedKey = createHash('sha256').update(clientKey).digest()
    const signed = `${conversation.clientFirst},${conversation.serverFirst},${withoutProof}`
    const signature = hmac(storedKey, signed)
    const expected = Buffer.from(clientKey.map((byte, index) => byte ^ signature[index]!))
    const given = Buffer.from(proof ?? '', 'base64')
    const right = given.length === expected.length && timingSafeEqual(given, expected)
    if (!right || nonce !== conversation.nonce) {
      command.connection.conversation = null
      throw failed()
    }
    conversation.proven = true
    const serverSignature = hmac(hmac(conversation.salted, 'Server Key'), signed).toString('base64')
    // The driver asks to skip the empty exchange at the end.
    command.connection.user = conversation.user
    return { conversationId: 1, done: true, payload: bytes(`v=${serverSignature}`) }
  },
  createUser: (command) => {
    const { users } = command.member.cluster
    users.set(`${command.database}.${command.target}`, command.text('pwd') ?? '')
    return {}
  },
  dropUser: (command) => {
    const { users } = command.member.cluster
    if (!users.delete(`${command.database}.${command.target}`))
      throw new CommandError(11, `User '${command.target}@${command.database}' not found`)
    return {}
  },
  logout: (command) => {
    command.connection.user = null
    return {}
  },
}

/** Of the one user that the server began with, or of one that was made since. */
function passwordOf(command: Command, user: string): string | null {
  const { auth, users } = command.member.cluster
  if (auth?.user === user) return auth.password
  return users.get(`${command.database}.${user}`) ?? null
}

/** Whether a command may be run before the client has said who it is. */
export function needsNoUser(name: string): boolean {
  return [
    'hello',
    'ismaster',
    'isMaster',
    'ping',
    'buildInfo',
    'buildinfo',
    'saslStart',
    'saslContinue',
    'logout',
    'connectionStatus',
    'endSessions',
  ].includes(name)
}

function payload(command: Command): string {
  const value = command.value('payload')
  return value instanceof Scalar ? value.bytes.toString('utf8', 5) : ''
}

function bytes(text: string): Scalar {
  return binary(Buffer.from(text), 0)
}

function failed(): CommandError {
  return new CommandError(18, 'Authentication failed.')
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** A text from an HTTP server that may be slow, out of order, redirect, or send too much. */
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { IncomingMessage } from 'node:http'
import {
  AuthError,
  ConfigError,
  ConnectionError,
  CoreError,
  ThrottledError,
  toCoreError,
} from '../../core/error.ts'
import type { Secret } from '../../core/secret.ts'

export interface HttpOptions {
  readonly token?: Secret
  /** PEM: authorities besides those that Node knows. */
  readonly ca?: string
  /** Of one request with its redirects, in milliseconds. */
  readonly timeout: number
  /** How long a server that does not answer, or is out of order, is asked again; milliseconds. */
  readonly retryFor: number
  readonly maxSize: number
  /** The option that holds these, for messages: `mapping.schema`. */
  readonly name: string
}

export interface HttpText {
  /** The address as it may be shown: without what could be secret. */
  readonly shown: string
  /** Null: as it was at the time of the tag that was given. */
  readonly text: string | null
  readonly etag: string | null
}

/** Time, as tests hold it still. */
export interface HttpClock {
  /** Milliseconds, for durations. */
  now(): number
  /** Rejects when the signal is aborted. */
  wait(milliseconds: number, signal: AbortSignal): Promise<void>
  /** Told of every failure that is followed by another request. */
  retrying?(error: CoreError, delayMs: number): void
}

const FIRST_DELAY_MS = 200
const LONGEST_DELAY_MS = 5000
const REDIRECTS_MAX = 5
const REDIRECTS = [301, 302, 303, 307, 308]
const BUSY = [408, 425, 429, 500, 502, 503, 504]
const NOT_MODIFIED = 304

/** Throws `CoreError`, when it cannot be had within `retryFor`. `etag` is what the text that is known had. */
export async function fetchHttpText(
  address: string,
  options: HttpOptions,
  etag: string | null,
  clock: HttpClock,
  signal: AbortSignal,
): Promise<HttpText> {
  const url = readAddress(address, options)
  const end = clock.now() + options.retryFor
  for (let delay = FIRST_DELAY_MS; ; delay = Math.min(delay * 2, LONGEST_DELAY_MS)) {
    try {
      return await attempt(url, options, etag, signal)
    } catch (error) {
      const failure = toCoreError(error)
      const pause = Math.max(delay, failure.retryAfterMs ?? 0)
      if (!failure.retryable || signal.aborted || clock.now() + pause > end) throw failure
      clock.retrying?.(failure, pause)
      await clock.wait(pause, signal).catch(() => {
        throw failure
      })
    }
  }
}

/** What is wrong with an address or a token, as a clause; null when nothing is. */
export function addressFault(address: string): string | null {
  const url = URL.canParse(address) ? new URL(address) : null
  if (url === null || !/^https?:$/.test(url.protocol)) return 'must be an http(s) address'
  if (url.username !== '' || url.password !== '')
    return 'must hold neither user nor password; there is `token` for what is secret'
  return null
}

/** What Node says of such a header has the header in it. */
export function tokenFault(token: string): string | null {
  return /^[\x21-\x7e]+$/.test(token) ? null : 'must be visible ASCII, without spaces or line ends'
}

/** Queries may hold secrets. */
function showAddress(address: string | URL): string {
  const { origin, pathname } = new URL(address)
  return `${origin}${pathname}`
}

function readAddress(address: string, { name, token }: HttpOptions): URL {
  const fault = addressFault(address)
  if (fault !== null) throw wrongOption(`\`${name}.url\` ${fault}`)
  const tokenIs = token === undefined ? null : tokenFault(token.reveal())
  if (tokenIs !== null) throw wrongOption(`\`${name}.token\` ${tokenIs}`)
  return new URL(address)
}

function wrongOption(message: string): ConfigError {
  return new ConfigError('mapping/options', message, {
    fix: 'Write https://host/path into `url`, and a secret into `token`.',
  })
}

async function attempt(
  first: URL,
  options: HttpOptions,
  etag: string | null,
  stop: AbortSignal,
): Promise<HttpText> {
  const { token, timeout, maxSize, name } = options
  const late = AbortSignal.timeout(timeout)
  const signal = AbortSignal.any([late, stop])
  const headers: Record<string, string> = { accept: 'application/json, application/yaml, */*;q=0.1' }
  if (token !== undefined) headers['authorization'] = `Bearer ${token.reveal()}`
  if (etag !== null) headers['if-none-match'] = etag
  let url = first
  try {
    for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects++) {
      const response = await get(url, headers, options.ca, signal)
      const shown = showAddress(first)
      const status = response.statusCode ?? 0
      if (status === 200) {
        const text = await readBody(response, shown, maxSize, name)
        return { shown, text, etag: response.headers.etag ?? null }
      }
      response.destroy()
      if (status === NOT_MODIFIED && etag !== null) return { shown, text: null, etag }
      const next = response.headers.location
      if (!REDIRECTS.includes(status) || next === undefined) throw refused(response, showAddress(url), name)
      url = follow(url, next, token !== undefined, name)
    }
  } catch (error) {
    throw toHttpError(error, showAddress(url), name, late)
  }
  throw redirected(showAddress(first), 'redirects too often', name)
}

function get(
  url: URL,
  headers: Readonly<Record<string, string>>,
  ca: string | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const tls = ca === undefined ? {} : { ca }
    const options = { headers, signal, agent: false as const }
    const request =
      url.protocol === 'https:' ? requestHttps(url, { ...options, ...tls }) : requestHttp(url, options)
    request.once('response', resolve)
    request.once('error', reject)
    request.end()
  })
}

/** A token goes to no other server, and nothing that was asked for over TLS comes without. */
function follow(from: URL, location: string, hasToken: boolean, name: string): URL {
  if (!URL.canParse(location, from.href)) throw redirected(showAddress(from), 'redirects to no address', name)
  const to = new URL(location, from)
  if (!/^https?:$/.test(to.protocol) || (from.protocol === 'https:' && to.protocol === 'http:')) {
    throw redirected(showAddress(from), 'redirects to an address without TLS, or not of HTTP', name)
  }
  if (hasToken && to.origin !== from.origin) {
    throw redirected(showAddress(from), `redirects to ${to.origin}, which must not see the token`, name)
  }
  return to
}

async function readBody(
  response: IncomingMessage,
  shown: string,
  maxSize: number,
  name: string,
): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    // Leaving the loop closes the connection.
    if (size > maxSize) throw tooLarge(shown, maxSize, name)
    chunks.push(chunk)
  }
  if (!response.complete)
    throw new ConnectionError('mapping/unreachable', `${shown} ended before its end`, {
      fix: 'Look at the server, or at what is between it and here.',
    })
  return Buffer.concat(chunks).toString('utf8')
}

export function tooLarge(shown: string, maxSize: number, name: string): ConfigError {
  return new ConfigError('mapping/too-large', `${shown} has more than ${maxSize} bytes`, {
    fix: `Look whether it is the right one, or raise \`${name}.maxSize\`.`,
  })
}

function refused(response: IncomingMessage, shown: string, name: string): CoreError {
  const status = response.statusCode ?? 0
  const message = `${shown} answers ${status}`
  if (status === 401 || status === 403)
    return new AuthError('mapping/refused', message, { fix: `Check \`${name}.token\`.` })
  if (BUSY.includes(status)) {
    const seconds = Number(response.headers['retry-after'] ?? 0)
    return new ThrottledError('mapping/unreachable', message, {
      fix: 'Look why the server is out of order.',
      ...(seconds > 0 ? { retryAfterMs: seconds * 1000 } : {}),
    })
  }
  return new ConfigError('mapping/unreadable', message, { fix: `Check \`${name}.url\`.` })
}

function redirected(shown: string, what: string, name: string): ConfigError {
  return new ConfigError('mapping/redirected', `${shown} ${what}`, {
    fix: `Set \`${name}.url\` to where the document is in the end.`,
  })
}

/** Without the cause: what Node throws may hold what was sent. */
function toHttpError(error: unknown, shown: string, name: string, late: AbortSignal): CoreError {
  if (error instanceof CoreError) return error
  const fix = `Check \`${name}.url\`, and that the server runs.`
  if (late.aborted)
    return new ConnectionError('mapping/unreachable', `${shown} gives no answer in time`, { fix })
  const code = (error as NodeJS.ErrnoException | null)?.code ?? 'unknown reason'
  if (/^(CERT_|ERR_TLS_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)) {
    return new ConfigError('mapping/certificate', `the certificate of ${shown} is not trusted (${code})`, {
      fix: `Set \`${name}.ca\` to the authority that signed it, and use the host name that it is for.`,
    })
  }
  return new ConnectionError('mapping/unreachable', `${shown} cannot be reached (${code})`, { fix })
}

/** A text from an HTTP server that may be slow, out of order, redirect, or send too much. */
import {
  AuthError,
  ConfigError,
  ConnectionError,
  type CoreError,
  ThrottledError,
  toCoreError,
} from '../../../core/error.ts'
import type { Secret } from '../../../core/secret.ts'

export interface FetchOptions {
  readonly token?: Secret
  /** Of one request, in milliseconds. */
  readonly timeout: number
  /** Time for all attempts, in milliseconds. */
  readonly retryFor: number
  readonly maxSize: number
}

/** Time, as tests hold it still. */
export interface FetchContext {
  /** Milliseconds since 1970 UTC. */
  now(): number
  wait(milliseconds: number): Promise<void>
}

const FIRST_DELAY_MS = 200
const LONGEST_DELAY_MS = 5000
const REDIRECTS_MAX = 5
const REDIRECTS = [301, 302, 303, 307, 308]
const BUSY = [408, 425, 429, 500, 502, 503, 504]

/** The text, and the address as it may be shown: without what could be secret. */
export async function fetchText(
  address: string,
  options: FetchOptions,
  { now, wait }: FetchContext,
): Promise<{ readonly shown: string; readonly text: string }> {
  const url = readAddress(address)
  if (options.token !== undefined && !/^[\x21-\x7e]+$/.test(options.token.reveal())) {
    // What fetch says of such a header has the header in it.
    throw new ConfigError(
      'zero/schema-options',
      '`schema.token` has characters that no HTTP header can have',
      {
        fix: 'A token is visible ASCII, without spaces or line ends.',
      },
    )
  }
  const end = now() + options.retryFor
  for (let delay = FIRST_DELAY_MS; ; delay = Math.min(delay * 2, LONGEST_DELAY_MS)) {
    try {
      return { shown: show(url), text: await attempt(url, options) }
    } catch (error) {
      const failure = toCoreError(error)
      const pause = Math.max(delay, failure.retryAfterMs ?? 0)
      if (!failure.retryable || now() + pause > end) throw failure
      await wait(pause)
    }
  }
}

function readAddress(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : null
  const fault =
    url === null || !/^https?:$/.test(url.protocol)
      ? 'is no http(s) address'
      : url.username !== '' || url.password !== ''
        ? 'holds a user or a password'
        : null
  if (fault === null) return url!
  throw new ConfigError('zero/schema-options', `\`schema.url\` ${fault}`, {
    fix: 'Write https://host/path, and a secret into `schema.token`.',
  })
}

async function attempt(first: URL, { token, timeout, maxSize }: FetchOptions): Promise<string> {
  const signal = AbortSignal.timeout(timeout)
  const headers: Record<string, string> = { accept: 'application/json' }
  if (token !== undefined) headers['authorization'] = `Bearer ${token.reveal()}`
  try {
    let url = first
    for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects++) {
      const response = await fetch(url, { headers, redirect: 'manual', signal })
      const next = response.headers.get('location')
      if (response.status === 200) return await readBody(response, show(url), maxSize)
      await response.body?.cancel()
      if (!REDIRECTS.includes(response.status) || next === null) throw refused(response, show(url))
      url = follow(url, next, token !== undefined)
    }
  } catch (error) {
    throw toFetchError(error, show(first), signal)
  }
  throw redirected(show(first), 'redirects too often')
}

/** A token goes to no other server, and nothing that was asked for over TLS comes without. */
function follow(from: URL, location: string, hasToken: boolean): URL {
  if (!URL.canParse(location, from.href)) throw redirected(show(from), 'redirects to no address')
  const to = new URL(location, from)
  if (!/^https?:$/.test(to.protocol) || (from.protocol === 'https:' && to.protocol === 'http:')) {
    throw redirected(show(from), 'redirects to an address without TLS, or not of HTTP')
  }
  if (hasToken && to.origin !== from.origin) {
    throw redirected(show(from), `redirects to ${to.origin}, which must not see the token`)
  }
  return to
}

async function readBody(response: Response, shown: string, maxSize: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    // Leaving the loop cancels the rest.
    if (size > maxSize) {
      throw new ConfigError('zero/schema-too-large', `${shown} sends more than ${maxSize} bytes`, {
        fix: 'Look whether it is the right address, or raise `schema.maxSize`.',
      })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function refused({ status, headers }: Response, shown: string): CoreError {
  const message = `${shown} answers ${status}`
  if (status === 401 || status === 403) {
    return new AuthError('zero/schema-refused', message, { fix: 'Check `schema.token`.' })
  }
  if (BUSY.includes(status)) {
    const seconds = Number(headers.get('retry-after') ?? 0)
    return new ThrottledError('zero/schema-unreachable', message, {
      fix: 'Look why the server that has the Zero schema is out of order.',
      ...(seconds > 0 ? { retryAfterMs: seconds * 1000 } : {}),
    })
  }
  return new ConfigError('zero/schema-unreadable', message, { fix: 'Check `schema.url`.' })
}

function redirected(shown: string, what: string): ConfigError {
  return new ConfigError('zero/schema-redirected', `${shown} ${what}`, {
    fix: 'Set `schema.url` to where the schema is in the end.',
  })
}

function toFetchError(error: unknown, shown: string, signal: AbortSignal): unknown {
  const fix = 'Check `schema.url`, and that the server runs.'
  if (signal.aborted)
    return new ConnectionError('zero/schema-unreachable', `${shown} gives no answer in time`, { fix })
  // What fetch throws for a failed connection or a body that was cut.
  if (!(error instanceof TypeError)) return error
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code
  if (code !== undefined && /^(CERT_|ERR_TLS_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)) {
    return new ConfigError(
      'zero/schema-certificate',
      `the certificate of ${shown} is not trusted (${code})`,
      {
        fix: 'Use a certificate that this machine trusts (NODE_EXTRA_CA_CERTS) for that host name.',
      },
    )
  }
  const detail = code === undefined ? '' : ` (${code})`
  return new ConnectionError('zero/schema-unreachable', `${shown} cannot be reached${detail}`, {
    fix,
    cause: error,
  })
}

/** Queries may hold secrets. */
function show({ origin, pathname }: URL): string {
  return `${origin}${pathname}`
}

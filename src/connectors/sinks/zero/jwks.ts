import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose'
import type { Logger } from '../../../core/context.ts'

export interface KeySetOptions {
  readonly url: string
  /** Longest time for one request, in milliseconds. */
  readonly timeoutMs: number
  /** A key that the set does not hold makes it be read again, but not before this time has passed since the last time. */
  readonly cooldownMs: number
  /** Older keys are read again before they are used: a key that was revoked is trusted so long. */
  readonly maxAgeMs: number
}

/** The keys could not be had, which says nothing about the token. */
export class KeysUnavailable extends Error {}

/** A key set is a few KiB; an endpoint that sends more is not one. */
const MAX_BYTES = 256 * 1024
/** A failed request is not repeated sooner: a refused zero-cache comes back 40 times a second. */
const RETRY_AFTER_MS = 1000

/** The public keys behind a URL (RFC 7517), read when needed and kept. */
export class KeySet {
  /** The key for a token; throws `KeysUnavailable`, or what jose says about the token. */
  readonly get: JWTVerifyGetKey
  readonly #closed = new AbortController()
  #failedAtMs = -Infinity

  constructor(options: KeySetOptions, log: Logger) {
    const remote = createRemoteJWKSet(new URL(options.url), {
      timeoutDuration: options.timeoutMs,
      cooldownDuration: options.cooldownMs,
      cacheMaxAge: options.maxAgeMs,
      [customFetch]: (url, init) => this.#fetch(url, init),
    })
    this.get = async (header, token) => {
      try {
        return await remote(header, token)
      } catch (error) {
        if (aboutToken(error)) throw error
        log.warn('the keys for tokens could not be read', {
          code: 'zero/keys-unavailable',
          host: new URL(options.url).host,
          reason: reasonOf(error),
        })
        throw new KeysUnavailable('the keys for tokens could not be read', { cause: error })
      }
    }
  }

  /** Ends a request that is under way. */
  close(): void {
    this.#closed.abort()
  }

  async #fetch(url: string, init: RequestInit & { readonly signal: AbortSignal }): Promise<Response> {
    if (performance.now() - this.#failedAtMs < RETRY_AFTER_MS)
      throw new Error('the last request has just failed')
    try {
      const signal = AbortSignal.any([init.signal, this.#closed.signal])
      const response = await fetch(url, { ...init, signal })
      if (response.status !== 200) {
        await response.body?.cancel()
        throw new Error(`HTTP status ${response.status}`)
      }
      return new Response(await bodyOf(response))
    } catch (error) {
      this.#failedAtMs = performance.now()
      throw error
    }
  }
}

async function bodyOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    // Leaving the loop ends the request.
    if (length > MAX_BYTES) throw new Error(`more than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function aboutToken(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  )
}

/** In our words or as a code: what a server or a driver says may quote the address. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const cause = error.cause as NodeJS.ErrnoException | undefined
  const code = cause?.code ?? (error as NodeJS.ErrnoException).code
  if (typeof code === 'string') return code
  return /^(HTTP status \d+|more than \d+ bytes|the last request has just failed)$/.test(error.message)
    ? error.message
    : error.name
}

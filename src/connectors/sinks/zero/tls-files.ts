import { readFile, stat } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import type { Logger } from '../../../core/context.ts'
import { ConfigError } from '../../../core/error.ts'

export interface TlsFiles {
  /** PEM: the certificate of the server, with the chain up to a known authority. */
  readonly certificateFile: string
  readonly keyFile: string
  /** PEM: the authorities that sign the certificates of clients; every client must then have one. */
  readonly clientCaFile?: string
}

/** Reads the files. Throws a `ConfigError` when they are not a certificate and its key. */
export async function readTlsFiles(files: TlsFiles): Promise<SecureContextOptions> {
  const read = async (file: string, option: string) => {
    try {
      return await readFile(file)
    } catch (error) {
      throw unusable(`\`${option}\` cannot be read (${codeOf(error)})`)
    }
  }
  const options: SecureContextOptions = {
    cert: await read(files.certificateFile, 'certificateFile'),
    key: await read(files.keyFile, 'keyFile'),
    ...(files.clientCaFile !== undefined && { ca: await read(files.clientCaFile, 'clientCaFile') }),
    minVersion: 'TLSv1.2',
  }
  try {
    createSecureContext(options)
  } catch (error) {
    throw unusable(`the files are not a certificate and its key (${codeOf(error)})`)
  }
  if (options.ca !== undefined && !options.ca.includes('BEGIN CERTIFICATE'))
    throw unusable('`clientCaFile` holds no certificate')
  return options
}

function unusable(message: string): ConfigError {
  return new ConfigError('zero/tls-files', `TLS cannot be set up: ${message}`, {
    fix: 'Give PEM files that this process may read: the certificate with its chain, and its key without a password.',
  })
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown reason'
}

/**
 * Looks every so often whether the files have changed, and hands over what they hold then. Looking finds what a file
 * watcher misses: Kubernetes swaps a link two folders up.
 */
export class TlsWatch {
  readonly #files: TlsFiles
  readonly #apply: (options: SecureContextOptions) => void
  readonly #log: Logger
  readonly #timer: NodeJS.Timeout
  #seen: string
  #looking = false

  /** `seen` is the `versionOf` the files that are in use. */
  constructor(
    files: TlsFiles,
    seen: string,
    everyMs: number,
    apply: (options: SecureContextOptions) => void,
    log: Logger,
  ) {
    this.#files = files
    this.#seen = seen
    this.#apply = apply
    this.#log = log
    this.#timer = setInterval(() => void this.#look(), everyMs)
  }

  /** Changes when a file is written or replaced. */
  static async versionOf(files: TlsFiles): Promise<string> {
    const names = [files.certificateFile, files.keyFile, files.clientCaFile].filter(
      (name) => name !== undefined,
    )
    const versions = names.map(async (name) => {
      const found = await stat(name, { bigint: true }).catch(() => null)
      return found === null ? 'missing' : `${found.ino}.${found.mtimeNs}.${found.size}`
    })
    return (await Promise.all(versions)).join(' ')
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const version = await TlsWatch.versionOf(this.#files)
      if (version === this.#seen) return
      // A pair that is half replaced is no pair: the other half is another change.
      this.#seen = version
      this.#apply(await readTlsFiles(this.#files))
      this.#log.info('the certificate was read again')
    } catch (error) {
      this.#log.error('the certificate has changed and cannot be used; the former one stays', {
        code: 'zero/tls-files',
        reason: error instanceof Error ? error.message : 'unknown',
      })
    } finally {
      this.#looking = false
    }
  }
}

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certificate {
  readonly certificateFile: string
  readonly keyFile: string
}

/** An authority that signs certificates, made by OpenSSL in a folder of the test. */
export class Authority {
  readonly caFile: string
  readonly #folder: string
  readonly #name: string
  #serial = 1

  constructor(folder: string, name: string) {
    this.#folder = folder
    this.#name = name
    this.caFile = join(folder, `${name}.pem`)
    const subject = ['-subj', `/CN=${name}`, '-days', '1']
    openssl(['req', '-x509', ...NEW_KEY, '-keyout', this.#path('.key'), '-out', this.caFile, ...subject])
  }

  /** For `localhost` and 127.0.0.1 as a server, and for `name` as a client. */
  issue(name: string): Certificate {
    const at = (end: string) => join(this.#folder, `${this.#name}-${name}${end}`)
    const extensions = at('.ext')
    writeFileSync(extensions, 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
    openssl(['req', ...NEW_KEY, '-keyout', at('.key'), '-out', at('.csr'), '-subj', `/CN=${name}`])
    const signer = ['-CA', this.caFile, '-CAkey', this.#path('.key'), '-set_serial', String(++this.#serial)]
    const rest = ['-days', '1', '-extfile', extensions, '-out', at('.pem')]
    openssl(['x509', '-req', '-in', at('.csr'), ...signer, ...rest])
    return { certificateFile: at('.pem'), keyFile: at('.key') }
  }

  #path(end: string): string {
    return join(this.#folder, `${this.#name}${end}`)
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The two output streams: data on stdout; logs, errors and the status line on stderr, which it keeps apart. */
import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

export interface OutputStream {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

export class Terminal {
  readonly #out: OutputStream
  readonly #err: OutputStream
  readonly #colour: boolean
  #status = ''

  constructor(
    out: OutputStream,
    err: OutputStream,
    environment: Readonly<Record<string, string | undefined>>,
  ) {
    this.#out = out
    this.#err = err
    // https://no-color.org: any value that is not empty.
    this.#colour = err.isTTY === true && (environment['NO_COLOR'] ?? '') === ''
  }

  /** Whether somebody watches: then there is a status line. */
  get isLive(): boolean {
    return this.#err.isTTY === true
  }

  /** A line of the result. */
  print(line: string): void {
    this.#above(() => this.#out.write(`${line}\n`))
  }

  /** A line about the run: log, error. */
  note(line: string): void {
    this.#above(() => this.#err.write(`${line}\n`))
  }

  /** Replaces the status, one line or several; empty removes it. Does nothing when nobody watches. */
  status(text: string): void {
    if (!this.isLive) return
    this.#clear()
    // Some terminals say 0 when they do not know their width.
    const width = (this.#err.columns || 80) - 1
    this.#status = text
      .split('\n')
      .map((line) => line.slice(0, width))
      .join('\n')
    this.#err.write(this.#status)
  }

  /** Styled text for `note`, plain when colours are off. */
  paint(style: Style, text: string): string {
    return this.#colour ? styleText(style, text, { validateStream: false }) : text
  }

  #above(write: () => void): void {
    const status = this.#status
    this.#clear()
    write()
    if (status !== '') this.status(status)
  }

  #clear(): void {
    const above = this.#status.split('\n').length - 1
    if (this.#status !== '') this.#err.write(`\r\u001b[2K${'\u001b[1A\u001b[2K'.repeat(above)}`)
    this.#status = ''
  }
}

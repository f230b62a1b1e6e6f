/** Where permissions come from besides the source, and their way into the log. */
import type { Logger } from '../../../core/context.ts'
import type { ChangeLog } from './change-log.ts'
import type { ZeroConfig } from './config.ts'
import type { Permissions } from './log-messages.ts'
import { allowAllSelect, PermissionsFile, watchPermissions } from './permissions.ts'

const POLL_MS = 1000

export class PermissionsSource {
  readonly #log: ChangeLog
  readonly #allowAll: boolean
  readonly #end: () => void
  #names = ''

  private constructor(log: ChangeLog, allowAll: boolean, end: () => void) {
    this.#log = log
    this.#allowAll = allowAll
    this.#end = end
  }

  /** Reads the file, if there is one, and watches it. Throws `ConfigError` when it is broken. */
  static async open({ permissions }: ZeroConfig, log: ChangeLog, logger: Logger): Promise<PermissionsSource> {
    const store = async (value: Permissions): Promise<void> => {
      await log.request({ kind: 'permissions', value })
    }
    if (typeof permissions === 'string')
      return new PermissionsSource(log, permissions === 'allow-all-select', () => {})
    const file = new PermissionsFile(permissions.file)
    const first = await file.changed()
    if (first !== null) await store(first)
    const changed = async (value: Permissions): Promise<void> => {
      await store(value)
      logger.info('permissions changed')
    }
    return new PermissionsSource(
      log,
      false,
      watchPermissions(file, { intervalMs: POLL_MS, log: logger, changed }),
    )
  }

  /** These are all tables by now, as Zero calls them. */
  async tables(names: readonly string[]): Promise<void> {
    const text = names.join()
    if (!this.#allowAll || text === this.#names) return
    this.#names = text
    await this.#log.request({ kind: 'permissions', value: allowAllSelect(names) })
  }

  close(): void {
    this.#end()
  }
}

import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A file system of a few megabytes, which can be filled to the last byte. */
export class SmallDisk implements Disposable {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  /** Mounts one, or says why that is not possible. */
  static mount(megabytes = 2): SmallDisk | string {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-disk-'))
    try {
      execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder], {
        stdio: 'pipe',
      })
      return new SmallDisk(folder)
    } catch (error) {
      rmdirSync(folder)
      return `no small file system can be mounted here: ${(error as Error).message.split('\n')[0]}`
    }
  }

  fill(): void {
    for (const bytes of [64 * 1024, 1]) {
      try {
        for (;;) appendFileSync(this.#filler, Buffer.alloc(bytes))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      }
    }
  }

  /** Nothing can be written any more, as on a disk that was mounted so; or again. */
  freeze(on: boolean): void {
    execFileSync('/bin/mount', ['-o', `remount,${on ? 'ro' : 'rw'}`, this.folder], { stdio: 'pipe' })
  }

  free(): void {
    rmSync(this.#filler, { force: true })
  }

  [Symbol.dispose](): void {
    execFileSync('/bin/umount', [this.folder])
    rmdirSync(this.folder)
  }

  get #filler(): string {
    return join(this.folder, 'filler')
  }
}

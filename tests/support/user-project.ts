import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')
const compiler = join(root, 'node_modules/typescript/bin/tsc')

/** A project outside of the repository with Sluice in its `node_modules`, built as it is published. */
export class UserProject implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-project-'))

  constructor() {
    const installed = this.path('node_modules/sluice')
    compile('-p', join(root, 'tsconfig.build.json'), '--outDir', join(installed, 'dist'))
    cpSync(join(root, 'package.json'), join(installed, 'package.json'))
    const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>
    }
    for (const name of [...Object.keys(dependencies), '@types/node']) this.#link(name)
  }

  path(...names: readonly string[]): string {
    return join(this.folder, ...names)
  }

  /** The command `sluice` of this project. */
  get command(): string {
    return this.path('node_modules/sluice/dist/cli/main.js')
  }

  /** Builds and packs a package of the repository as `npm publish` does, and unpacks it where `npm install` does. */
  install(folder: string): void {
    const source = this.path('packages', folder)
    cpSync(join(root, folder), source, {
      recursive: true,
      filter: (path) => !/(node_modules|dist)$/.test(path),
    })
    compile('-p', source)
    const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--silent'], {
      cwd: source,
      encoding: 'utf8',
    })
    const { name } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as { name: string }
    const target = this.path('node_modules', name)
    mkdirSync(target, { recursive: true })
    execFileSync('tar', ['-xzf', join(source, packed.trim()), '-C', target, '--strip-components', '1'])
    rmSync(this.path('packages'), { recursive: true })
  }

  /** Copies files of the repository to the same place in the project. */
  copy(...files: readonly string[]): void {
    for (const file of files) cpSync(join(root, file), this.path(file))
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** What npm would fetch is there already. */
  #link(name: string): void {
    const target = this.path('node_modules', name)
    mkdirSync(dirname(target), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), target)
  }
}

function compile(...args: readonly string[]): void {
  try {
    execFileSync(process.execPath, [compiler, ...args], { cwd: root, encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    throw new Error(`the compiler finds mistakes:\n${(error as { stdout: string }).stdout}`, { cause: error })
  }
}

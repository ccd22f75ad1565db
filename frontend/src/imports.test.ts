import { readdirSync, readFileSync } from "node:fs"
import path from "node:path"
import ts from "typescript"
import { describe, expect, it } from "vitest"

const SRC = import.meta.dirname

/** The folders (and root files) of `src`, each with the folders that its modules may import besides their own. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  "proxy.ts": ["server"],
  "instrumentation.ts": ["server"],
  app: ["tasks", "account", "ui", "server"],
  tasks: ["feedback", "data", "form", "api", "ui"],
  account: ["feedback", "data", "form", "api", "ui", "trace"],
  feedback: ["data", "form", "api", "ui"],
  data: ["api"],
  form: ["ui"],
  api: ["trace"],
  ui: [],
  server: ["trace"],
  trace: [],
}

/** Test code: no product module may import it, and it may import every folder. */
const TESTING = "testing"

type Graph = ReadonlyMap<string, readonly string[]>

const isTest = (file: string) => /\.test\.tsx?$/.test(file) || layerOf(file) === TESTING

/** Return the first folder of a path relative to `src`, or the file name of a file in `src` itself. */
function layerOf(file: string): string {
  return file.split("/")[0] ?? file
}

/** Return the modules that a module imports, relative to `src`: static, type-only and dynamic imports, no packages. */
function importsOf(file: string, files: ReadonlySet<string>): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(path.join(SRC, file), "utf8"), true, true)
  return importedFiles.flatMap(({ fileName }) => {
    const base = fileName.startsWith("@/")
      ? fileName.slice(2)
      : fileName.startsWith(".")
        ? path.posix.join(path.posix.dirname(file), fileName)
        : undefined
    if (base === undefined) return []
    const target = ["", ".ts", ".tsx", ".d.ts"].map((ending) => base + ending).find((name) => files.has(name))
    if (target === undefined) throw new Error(`${file} imports ${fileName}, which is not a file of src`)
    return [target]
  })
}

/** Read the import graph of all TypeScript modules of `src`; style sheets are import targets only. */
function readGraph(): Graph {
  const all = readdirSync(SRC, { recursive: true, encoding: "utf8" }).map((name) =>
    name.replaceAll("\\", "/"),
  )
  const files = new Set(all.filter((name) => /\.(tsx?|css)$/.test(name)))
  const modules = [...files].filter((name) => /\.tsx?$/.test(name))
  return new Map(modules.map((file) => [file, importsOf(file, files)]))
}

/** Return one import cycle as a list of modules that begins and ends with the same module, or undefined. */
function findCycle(graph: Graph): string[] | undefined {
  const finished = new Set<string>()
  const visit = (file: string, stack: readonly string[]): string[] | undefined => {
    if (stack.includes(file)) return [...stack.slice(stack.indexOf(file)), file]
    if (finished.has(file)) return undefined
    for (const target of graph.get(file) ?? []) {
      const cycle = visit(target, [...stack, file])
      if (cycle) return cycle
    }
    finished.add(file)
    return undefined
  }
  for (const file of graph.keys()) {
    const cycle = visit(file, [])
    if (cycle) return cycle
  }
  return undefined
}

/** Return all modules that a browser loads because of `file`, including `file` itself. */
function reachableFrom(file: string, graph: Graph, reached = new Set<string>()): Set<string> {
  if (reached.has(file)) return reached
  reached.add(file)
  for (const target of graph.get(file) ?? []) reachableFrom(target, graph, reached)
  return reached
}

const graph = readGraph()
const product = [...graph].filter(([file]) => !isTest(file))

describe("the imports of src", () => {
  it("contain no cycle, not even of type-only or dynamic imports", () => {
    expect(findCycle(graph)).toBeUndefined()
  })

  it("go down the layers only", () => {
    const upward = product.flatMap(([file, targets]) =>
      targets
        .filter((target) => ![layerOf(file), ...(LAYERS[layerOf(file)] ?? [])].includes(layerOf(target)))
        .map((target) => `${file} -> ${target}`),
    )
    expect(upward).toEqual([])
  })

  it("start in a folder that has a layer", () => {
    const layers = new Set(product.map(([file]) => layerOf(file)))
    expect([...layers].sort()).toEqual(Object.keys(LAYERS).sort())
  })

  it("never lead from a client component to server code or to test code", () => {
    const clients = product
      .map(([file]) => file)
      .filter((file) => readFileSync(path.join(SRC, file), "utf8").startsWith('"use client"'))
    expect(clients.length).toBeGreaterThan(20)
    const leaks = clients.flatMap((client) =>
      [...reachableFrom(client, graph)]
        .filter((file) => ["server", TESTING].includes(layerOf(file)))
        .map((file) => `${client} -> ${file}`),
    )
    expect(leaks).toEqual([])
  })

  it("of the layers themselves contain no cycle", () => {
    expect(findCycle(new Map(Object.entries(LAYERS)))).toBeUndefined()
  })
})

describe("findCycle", () => {
  it("returns the modules of a cycle in import order", () => {
    const cyclic = new Map([
      ["a", ["b"]],
      ["b", ["c"]],
      ["c", ["b"]],
    ])
    expect(findCycle(cyclic)).toEqual(["b", "c", "b"])
  })
})

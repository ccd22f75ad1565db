import { readFileSync } from "node:fs"
import path from "node:path"
import { expect, test } from "vitest"
import { foldText } from "./fold"

const FILE = path.join(import.meta.dirname, "../../../tests/tasks/folding.json")
const examples = JSON.parse(readFileSync(FILE, "utf8")) as [string, string][]

test.each(examples)("foldText folds as the API does: %j", (text, folded) => {
  expect(foldText(text)).toBe(folded)
  expect(foldText(folded)).toBe(folded)
})

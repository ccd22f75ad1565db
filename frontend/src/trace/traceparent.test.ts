import { expect, test } from "vitest"
import { nextTraceparent } from "./traceparent"

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`
const FORM = /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/

test("a trace begins with random ids", () => {
  const all = Array.from({ length: 100 }, () => nextTraceparent())
  for (const header of all) expect(header).toMatch(FORM)
  expect(new Set(all.map((header) => header.split("-")[1])).size).toBe(100)
})

test("the trace of a parent continues with a new span id", () => {
  const [version, trace, span, flags] = nextTraceparent(PARENT).split("-")
  expect([version, trace, flags]).toEqual(["00", TRACE, "01"])
  expect(span).not.toBe("00f067aa0ba902b7")
})

test.each([
  "",
  "nonsense",
  `ff-${TRACE}-00f067aa0ba902b7-01`,
  `00-${"0".repeat(32)}-00f067aa0ba902b7-01`,
  `00-${TRACE}-${"0".repeat(16)}-01`,
  `${PARENT}\r\nx-evil: 1`,
  PARENT.toUpperCase(),
])("an invalid parent (%j) begins a new trace", (parent) => {
  const header = nextTraceparent(parent)
  expect(header).toMatch(FORM)
  expect(header).not.toContain(TRACE)
})

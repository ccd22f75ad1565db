import { renderToString } from "react-dom/server"
import { expect, test, vi } from "vitest"
import {
  useAddTask,
  useConnection,
  useEndSession,
  useOpenCount,
  useTasks,
  useUnsavedChanges,
} from "./hooks"
import { ApiProvider } from "./ServicesProvider"
import { Tabs } from "@/api/tabChannel"

function Probe() {
  const { status, tasks } = useTasks({ show: "all", search: "", sort: "-created_at" })
  const calls = [useAddTask(), useEndSession()].map((call) => typeof call)
  return (
    <>
      {JSON.stringify([status, tasks, useOpenCount() ?? null, useConnection(), useUnsavedChanges(), calls])}
    </>
  )
}

test("the page is drawn on the server without asking anybody for anything", () => {
  const asked = vi.spyOn(globalThis, "fetch")
  const page = renderToString(
    <ApiProvider apiUrl="http://localhost:8000" userId="alice">
      <Probe />
    </ApiProvider>,
  )
  expect(page.replaceAll("&quot;", '"')).toBe('["loading",[],null,"online",0,["function","function"]]')
  expect(asked).not.toHaveBeenCalled()
})

test("without a provider a hook says what is missing", () => {
  expect(() => renderToString(<Probe />)).toThrow("ApiProvider")
})

test("the other tabs of a person hear of a change, those of another person do not", async () => {
  const [alice, sameAlice, bob] = [new Tabs("alice"), new Tabs("alice"), new Tabs("bob")]
  const heard: string[] = []
  const close = [
    alice.open(() => heard.push("myself")),
    sameAlice.open((what) => heard.push(what)),
    bob.open(() => heard.push("bob")),
  ]
  alice.tell("changed")
  alice.tell("signed-out")
  await vi.waitFor(() => expect(heard).toEqual(["changed", "signed-out"]))
  close.forEach((end) => end())
  alice.tell("changed")
})

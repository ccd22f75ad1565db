import { renderToString } from "react-dom/server"
import { expect, test, vi } from "vitest"
import { TabChannel } from "@/api/tabChannel"
import {
  useAddTask,
  useConnectionState,
  useEndSession,
  useOpenCount,
  useTasks,
  useUnsavedChanges,
} from "./hooks"
import { ServicesProvider } from "./ServicesProvider"

function Probe() {
  const { status, tasks } = useTasks({ show: "all", search: "", sort: "-created_at" })
  const calls = [useAddTask(), useEndSession()].map((call) => typeof call)
  return (
    <>
      {JSON.stringify([
        status,
        tasks,
        useOpenCount() ?? null,
        useConnectionState(),
        useUnsavedChanges(),
        calls,
      ])}
    </>
  )
}

test("server-side rendering sends no request", () => {
  const fetchSpy = vi.spyOn(globalThis, "fetch")
  const page = renderToString(
    <ServicesProvider apiUrl="http://localhost:8000" userId="alice">
      <Probe />
    </ServicesProvider>,
  )
  expect(page.replaceAll("&quot;", '"')).toBe('["loading",[],null,"online",0,["function","function"]]')
  expect(fetchSpy).not.toHaveBeenCalled()
})

test("a hook without a provider throws an error that names it", () => {
  expect(() => renderToString(<Probe />)).toThrow("ServicesProvider")
})

test("tab events reach the other tabs of the same user only", async () => {
  const [alice, sameAlice, bob] = [new TabChannel("alice"), new TabChannel("alice"), new TabChannel("bob")]
  const heard: string[] = []
  const close = [
    alice.subscribe(() => heard.push("myself")),
    sameAlice.subscribe((what) => heard.push(what)),
    bob.subscribe(() => heard.push("bob")),
  ]
  alice.publish("changed")
  alice.publish("signed-out")
  await vi.waitFor(() => expect(heard).toEqual(["changed", "signed-out"]))
  close.forEach((end) => end())
  alice.publish("changed")
})

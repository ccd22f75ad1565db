import * as Callout from "@radix-ui/themes/components/callout"
import type { ReactNode } from "react"

/** Error message that belongs to no single field. */
export function ErrorCallout({ children }: { children: ReactNode }) {
  return (
    <Callout.Root color="red" size="1" role="alert">
      <Callout.Text size="2">{children}</Callout.Text>
    </Callout.Root>
  )
}

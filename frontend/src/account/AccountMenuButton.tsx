import { IconButton } from "@radix-ui/themes/components/icon-button"
import type { ComponentProps } from "react"
import { PersonIcon } from "@/ui/icons"

/** The round button that opens the account menu; used before and after the menu itself has loaded. */
export function AccountMenuButton(props: ComponentProps<typeof IconButton>) {
  return (
    <IconButton variant="soft" color="gray" radius="full" size="3" {...props} aria-label="Account menu">
      <PersonIcon />
    </IconButton>
  )
}

import { Text } from "@radix-ui/themes/components/text"
import { AuthCard } from "@/account/AuthCard"
import { TextLink } from "@/account/TextLink"

/** Page for unknown URLs. */
export default function NotFound() {
  return (
    <AuthCard title="There is no such page" footer={<TextLink href="/">Go to your tasks</TextLink>}>
      <Text as="p">The address may be mistyped, or the page has moved.</Text>
    </AuthCard>
  )
}

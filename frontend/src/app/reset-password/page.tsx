import { Text } from "@radix-ui/themes/components/text"
import type { Metadata } from "next"
import { AuthCard } from "@/account/AuthCard"
import { ResetPasswordForm } from "@/account/ResetPasswordForm"
import { TextLink } from "@/account/TextLink"

export const metadata: Metadata = { title: "Choose a new password" }

type PageProps = { searchParams: Promise<Record<string, string | string[] | undefined>> }

/** Page to choose a new password, opened by the link of the mail, which contains the token. */
export default async function Page({ searchParams }: PageProps) {
  const { token } = await searchParams
  return (
    <AuthCard
      title="Choose a new password"
      footer={<TextLink href="/forgot-password">Ask for a new link</TextLink>}
    >
      {typeof token === "string" && token ? (
        <ResetPasswordForm token={token} />
      ) : (
        <Text as="p">This link has expired or was used before.</Text>
      )}
    </AuthCard>
  )
}

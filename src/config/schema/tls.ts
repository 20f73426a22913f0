import { z } from "zod";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { filePath, hostPattern, list, plainText } from "./names.ts";
import { chooseOne } from "./text.ts";

/** PEM or JSON: from a file, or written in place. */
export const fileOrInline = (what: string) =>
  chooseOne("file or inline", {
    file: filePath().optional().describe(`File with ${what}; relative to the configuration file.`),
    inline: plainText(CONFIG_LIMITS.textBytes).optional().describe(`${what}, written here.`),
  });

export type FileOrInline = z.output<ReturnType<typeof fileOrInline>>;

export const minVersion = () =>
  z
    .enum(["TLSv1.2", "TLSv1.3"])
    .default("TLSv1.2")
    .describe("Oldest version accepted. With TLS 1.2 a listener offers forward secrecy and authenticated encryption only.");

/** A certificate with its key. */
export const certificatePair = () =>
  z.strictObject({
    certificate: fileOrInline("PEM, leaf first").describe("The certificate chain."),
    key: fileOrInline("PEM").describe("The private key (PKCS#8, PKCS#1 or SEC1; not encrypted)."),
    hosts: list(hostPattern())
      .optional()
      .describe(
        "Names it is used for (SNI); by default those in the certificate. The first certificate also serves unknown names.",
      ),
  });

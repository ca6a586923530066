// Reads [{bundle: string, key: PEM}, …] from stdin and prints, for each, null or why it was refused.
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { bundleFromJSON } from "@sigstore/bundle";
import { toSignedEntity, Verifier } from "@sigstore/verify";

const none = { tlogThreshold: 0, tsaThreshold: 0, ctlogThreshold: 0 };

function refusal({ bundle, key }) {
  try {
    const publicKey = createPublicKey(key);
    const trusted = {
      certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [],
      publicKey: () => ({ publicKey, validFor: () => true }),
    };
    new Verifier(trusted, none).verify(toSignedEntity(bundleFromJSON(JSON.parse(bundle))));
    return null;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(refusal)));

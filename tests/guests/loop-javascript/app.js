// The closed-loop test campaign in JavaScript as a component over the SDK; `loop-rust` says what it does.
import { campaign } from "../../../plugins/sdk/javascript/campaign.js";
import { analyze, plan } from "./bisect.js";

export const campaignCalls = campaign({ plan, analyze });

// The same functions as a component of their own.
import { campaign } from "matterstack/campaign.js";
import { analyze, plan } from "./campaign.js";

export const campaignCalls = campaign({ plan, analyze });

export * from "../../vendor/matterstack/matterstack.js";

// Leads to the module beside the source, until `npm install` puts a link in this place.
export * from "../../vendor/matterstack/matterstack.js";

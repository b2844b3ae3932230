// The operator as a component of its own.
import { operator } from "matterstack/operator.js";
import * as robot from "./robot.js";

export const operatorCalls = operator(robot);

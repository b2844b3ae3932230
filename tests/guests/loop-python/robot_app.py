"""The operator as a component of its own."""
import robot
from matterstack_component.operator import export

OperatorCalls = export(robot.submit, robot.reconcile, robot.check_status, prepare=robot.prepare,
                       collect_results=robot.collect_results, cancel=robot.cancel)

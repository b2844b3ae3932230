"""The same functions as a component of their own."""
from campaign import analyze, plan
from matterstack_component.campaign import export

CampaignCalls = export(plan, analyze)

-- Argo CD: health of a sconce.dev/ModelDeployment, from the conditions that mean the same on every kind of Sconce.
local health = {status = "Progressing", message = "the operator has not seen this object yet"}
if obj.status == nil or obj.status.conditions == nil then
  return health
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  health.message = "the operator has not seen the newest spec yet"
  return health
end
local held = {}
local ready
for _, condition in ipairs(obj.status.conditions) do
  held[condition.type] = condition.status == "True"
  if condition.type == "Ready" then
    ready = condition
  end
end
if ready == nil then
  return health
end
health.message = ready.reason .. ": " .. ready.message
if held.Ready then
  health.status = "Healthy"
elseif held.Degraded then
  health.status = "Degraded"
elseif ready.reason == "AwaitingPromotion" or ready.reason == "ScaledToZero" then
  -- Nothing is wrong and nothing goes on: a person decides.
  health.status = "Suspended"
end
return health

// Where telemetry goes: Application Insights over a Log Analytics workspace, written with Entra tokens only.

param location string
param tags object
param token string

@description('Most that is taken in a day, in GB, as text.')
param dailyGb string

@description('The app\'s identity.')
param appPrincipalId string

module workspace 'br/public:avm/res/operational-insights/workspace:0.16.1' = {
  name: 'workspace'
  params: {
    name: 'log-msisync-${token}'
    location: location
    tags: tags
    dailyQuotaGb: dailyGb
    dataRetention: 30
    // Queries need no storage account of the customer's, which the module would ask for.
    forceCmkForQuery: false
    features: { disableLocalAuth: true, enableLogAccessUsingOnlyResourcePermissions: true }
    enableTelemetry: false
  }
}

module insights 'br/public:avm/res/insights/component:0.8.0' = {
  name: 'insights'
  params: {
    name: 'appi-msisync-${token}'
    location: location
    tags: tags
    workspaceResourceId: workspace.outputs.resourceId
    retentionInDays: 30
    disableLocalAuth: true
    disableIpMasking: false
    enableTelemetry: false
    roleAssignments: [
      {
        principalId: appPrincipalId
        principalType: 'ServicePrincipal'
        roleDefinitionIdOrName: 'Monitoring Metrics Publisher'
      }
    ]
  }
}

output workspaceId string = workspace.outputs.resourceId
output applicationInsightsId string = insights.outputs.resourceId
output connectionString string = insights.outputs.connectionString

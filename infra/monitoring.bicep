// Who is told.

param location string
param tags object
param token string
param workspaceId string
param applicationInsightsId string
param serviceBusNamespaceId string
param functionAppId string

@description('Empty: nobody.')
param alertEmail string

var receivers = empty(alertEmail) ? [] : [{ name: 'operators', emailAddress: alertEmail, useCommonAlertSchema: true }]

module group 'br/public:avm/res/insights/action-group:0.8.0' = {
  name: 'action-group'
  params: {
    name: 'ag-msisync-${token}'
    groupShortName: 'msisync'
    tags: tags
    emailReceivers: receivers
    enableTelemetry: false
  }
}

output actionGroupId string = group.outputs.resourceId

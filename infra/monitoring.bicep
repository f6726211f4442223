// Who is told of what: alerts and a workbook. Each alert has a section in docs/operations.md; the metrics that they name
// are those of shared/telemetry/metrics.py, which tests/unit/test_infra_monitoring.py compares.

param location string
param tags object
param token string
param workspaceId string
param applicationInsightsId string
param serviceBusNamespaceId string
param functionAppId string

@description('Empty: nobody.')
param alertEmail string

@description('The queue where messages lie until a person has dealt with them: it is not meant to be drained.')
param deadLetterQueue string

var receivers = empty(alertEmail) ? [] : [{ name: 'operators', emailAddress: alertEmail, useCommonAlertSchema: true }]
var alerts = loadJsonContent('alerts.json')

// Where an operator finds what to do, in the text of every alert.
var guide = 'docs/operations.md'

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

// Queries over what the app tells. They ask Application Insights, so another app's data in the same workspace is not
// looked at. An alert resolves by itself when the query is quiet again.
resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in alerts.log: {
    name: 'msisync-${alert.name}-${token}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'msisync: ${alert.name}'
      description: '${alert.description} See ${guide}, ${alert.name}.'
      severity: alert.severity
      enabled: true
      scopes: [applicationInsightsId]
      evaluationFrequency: alert.every
      windowSize: alert.window
      autoMitigate: true
      // Before the first telemetry there are no rows to check a query against.
      skipQueryValidation: true
      criteria: {
        allOf: [
          union(
            {
              query: alert.query
              timeAggregation: alert.aggregation
              operator: alert.operator
              threshold: alert.threshold
              dimensions: map(alert.dimensions, name => { name: name, operator: 'Include', values: ['*'] })
              failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
            },
            alert.aggregation == 'Count' ? {} : { metricMeasureColumn: 'value' }
          )
        ]
      }
      actions: {
        actionGroups: [group.outputs.resourceId]
        customProperties: { alert: alert.name, guide: guide, functionApp: functionAppId }
      }
    }
  }
]

// What the broker measures itself: it knows of messages that no function has ever seen.
resource brokerAlerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for alert in alerts.broker: {
    name: 'msisync-${alert.name}-${token}'
    location: 'global'
    tags: tags
    properties: {
      description: '${alert.description} See ${guide}, ${alert.name}.'
      severity: alert.severity
      enabled: true
      scopes: [serviceBusNamespaceId]
      evaluationFrequency: alert.every
      windowSize: alert.window
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: alert.name
            metricNamespace: 'Microsoft.ServiceBus/namespaces'
            metricName: alert.metric
            timeAggregation: alert.aggregation
            operator: 'GreaterThan'
            threshold: alert.threshold
            dimensions: [
              {
                name: 'EntityName'
                operator: alert.queues == 'all' ? 'Include' : 'Exclude'
                values: alert.queues == 'all' ? ['*'] : [deadLetterQueue]
              }
            ]
          }
        ]
      }
      actions: [{ actionGroupId: group.outputs.resourceId }]
    }
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'msisync', token)
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'msisync'
    category: 'workbook'
    sourceId: applicationInsightsId
    version: 'Notebook/1.0'
    serializedData: replace(loadTextContent('workbook.json'), '__APPLICATION_INSIGHTS__', applicationInsightsId)
  }
}

resource serviceBus 'Microsoft.ServiceBus/namespaces@2024-01-01' existing = {
  name: last(split(serviceBusNamespaceId, '/'))
}

// Who has changed a queue, and when: `msisync pause` is such a change.
resource operationsOfTheBroker 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'msisync-operations'
  scope: serviceBus
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'OperationalLogs', enabled: true }]
  }
}

output actionGroupId string = group.outputs.resourceId
output workbookId string = workbook.id

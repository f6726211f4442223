// Service Bus: the seven queues, who may use them, and the one key that exists.

param location string
param tags object
param token string

@description('The app\'s identity.')
param appPrincipalId string

@description('Who operates from outside: objects with id and type.')
param operators array

@description('Whether the app serves the console, whose operators replay and discard dead letters with the app\'s identity.')
param servesConsole bool

@description('Queues that are not Active, as name=status with commas: a deployment leaves a pause (msisync pause) as it is.')
param queueStatuses string

// Written by `python3 dev.py generate` from shared/cli/queues.py, which says why each value is as it is.
var queues = loadJsonContent('queues.json')

var statuses = toObject(
  filter(split(queueStatuses, ','), pair => contains(pair, '=')),
  pair => split(pair, '=')[0],
  pair => split(pair, '=')[1]
)

// The app takes from the six queues of its triggers and sends to them. Data Owner there, and nowhere else, because the
// scale controller counts a queue's messages with the app's identity, and may do so with the right to manage alone:
// without it it peeks ten messages, and scheduled ones at the head hide all others (docs/security.md). To dead-letters
// the app only sends, unless it serves the console. Operators look at all queues and pause them, which is Data Owner on the namespace.
var takes = [
  {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionIdOrName: 'Azure Service Bus Data Owner'
  }
]
var sends = [
  {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionIdOrName: 'Azure Service Bus Data Sender'
  }
]
var operatorRoles = [
  for operator in operators: {
    principalId: operator.id
    principalType: operator.type
    roleDefinitionIdOrName: 'Azure Service Bus Data Owner'
  }
]

module namespace 'br/public:avm/res/service-bus/namespace:0.17.0' = {
  name: 'service-bus'
  params: {
    name: 'sb-msisync-${token}'
    location: location
    tags: tags
    // Standard has sessions, scheduled messages and 256 KB a message; Dataverse cuts its own at 192 KB. Premium would
    // add a private network, which Dataverse could not reach.
    skuObject: { name: 'Standard' }
    // Dataverse posts from Microsoft's network, from no fixed address, with a SAS key: its service endpoints know no
    // other way. So the namespace is public, and keys stay switched on, for the one rule below and no other.
    publicNetworkAccess: 'Enabled'
    disableLocalAuth: false
    minimumTlsVersion: '1.2'
    // Every namespace has this rule. Nothing here reads its keys; take them from the people who can.
    authorizationRules: [{ name: 'RootManageSharedAccessKey', rights: ['Listen', 'Manage', 'Send'] }]
    queues: [
      for queue in queues: {
        name: queue.name
        requiresSession: queue.requiresSession
        lockDuration: queue.lockDuration
        maxDeliveryCount: queue.maxDeliveryCount
        defaultMessageTimeToLive: queue.defaultMessageTimeToLive
        deadLetteringOnMessageExpiration: queue.deadLetteringOnMessageExpiration
        requiresDuplicateDetection: queue.requiresDuplicateDetection
        maxSizeInMegabytes: queue.maxSizeInMegabytes
        status: any(contains(statuses, queue.name) ? statuses[queue.name] : 'Active')
        roleAssignments: queue.setting == 'DEAD_LETTER_QUEUE' && !servesConsole ? sends : takes
        authorizationRules: queue.setting == 'CHANGES_QUEUE' ? [{ name: 'dataverse-send', rights: ['Send'] }] : []
      }
    ]
    roleAssignments: operatorRoles
    enableTelemetry: false
  }
}

output namespaceId string = namespace.outputs.resourceId
output name string = namespace.outputs.name
output host string = '${namespace.outputs.name}.servicebus.windows.net'
output queueSettings object = toObject(queues, queue => queue.setting, queue => queue.name)

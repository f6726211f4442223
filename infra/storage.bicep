// Storage: the host's own blobs, the deployed package, and the two tables of the app, which makes those of its history
// itself, one a day. No account key works.

param location string
param tags object
param token string
param sku string

@description('Names of the tables of parked records and of what the instances share.')
param tables array

@description('Where private endpoints go. Empty: the account has a public address.')
param endpointSubnetId string
param blobZoneId string
param tableZoneId string

@description('The app\'s identity.')
param appPrincipalId string

@description('Who operates from outside: objects with id and type.')
param operators array

var packageContainer = 'app-package'

// Blob Data Owner is what the Functions host asks for (leases of timers, keys). No function has a storage queue, so the
// identity has no role on queues.
var appRoles = [
  for role in ['Storage Blob Data Owner', 'Storage Table Data Contributor']: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionIdOrName: role
  }
]
// msisync status, doctor and show read the tables, and resync takes rows out of that of parked records.
var operatorRoles = [
  for operator in operators: {
    principalId: operator.id
    principalType: operator.type
    roleDefinitionIdOrName: 'Storage Table Data Contributor'
  }
]

var isPublic = empty(endpointSubnetId)
var endpoints = [
  for kind in [{ service: 'blob', zone: blobZoneId }, { service: 'table', zone: tableZoneId }]: {
    service: kind.service
    subnetResourceId: endpointSubnetId
    privateDnsZoneGroup: { privateDnsZoneGroupConfigs: [{ privateDnsZoneResourceId: kind.zone }] }
  }
]

module account 'br/public:avm/res/storage/storage-account:0.33.0' = {
  name: 'storage-account'
  params: {
    name: 'stmsisync${token}'
    location: location
    tags: tags
    skuName: sku
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowBlobPublicAccess: false
    minimumTlsVersion: 'TLS1_2'
    // As shipped reachable by address, opened by Entra only: without a network, instances of Flex Consumption have no
    // fixed addresses, and operators read the tables from where they are.
    publicNetworkAccess: isPublic ? 'Enabled' : 'Disabled'
    networkAcls: { defaultAction: isPublic ? 'Allow' : 'Deny', bypass: 'AzureServices' }
    privateEndpoints: isPublic ? [] : endpoints
    blobServices: {
      containers: [{ name: packageContainer, publicAccess: 'None' }]
      deleteRetentionPolicyEnabled: true
      deleteRetentionPolicyDays: 7
      containerDeleteRetentionPolicyEnabled: true
      containerDeleteRetentionPolicyDays: 7
    }
    tableServices: { tables: [for table in tables: { name: table }] }
    roleAssignments: concat(appRoles, operatorRoles)
    enableTelemetry: false
  }
}

output endpoints object = account.outputs.serviceEndpoints
output packageContainer string = packageContainer
